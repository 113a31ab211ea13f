"""Segments of a sequence with left and right context, plain or shiftable."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from mnemic_core.errors import UserError

Side = Literal["left", "center", "right"]

SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class ContextWindow:
    """A window ``[start, stop)`` of frames that are encoded together, and the segment in it."""

    start: int
    stop: int
    segment_start: int
    segment_stop: int

    @property
    def left(self) -> int:
        """Frames before the segment."""
        return self.segment_start - self.start

    @property
    def right(self) -> int:
        """Frames after the segment."""
        return self.stop - self.segment_stop

    def kept(self, stride: int = 1) -> range:
        """Return the indices of the segment's outputs among those of the window.

        Segments whose length and contexts are multiples of the stride together keep ``ceil(length / stride)``
        outputs. If a shift leaves a :attr:`left` that is not a multiple, outputs are up to ``stride - 1`` frames off
        those of the segment alone, as in the released code.

        Args:
            stride: frames per output, as of a convolution before the attention.
        """
        outputs = math.ceil((self.stop - self.start) / stride)
        return range(self.left // stride, outputs - math.ceil(self.right / stride))


def context_windows(
    length: int, segment_length: int, left: int = 0, right: int = 0, *, shift: Collection[Side] = SIDES
) -> list[ContextWindow]:
    """Cut a sequence into segments with context.

    Plain windows are short at both ends of the sequence, in a stream also at its newest segment, unlike those of
    training. *Shiftable context* (Raffel, Penney and Chen, ICML 2023, arXiv:2307.01377) extends them on the other side
    to ``L + C + R`` frames as soon as there are that many, without training for it: with ``e = min(s + C, n)``,
    ``b = min(n, max(e + R, L + C + R))`` and ``a = max(0, b - (L + C + R))``.

    Args:
        length: frames of the sequence so far, ``n``.
        segment_length: frames of a segment, ``C``; the last one may be shorter.
        left: frames of context before a segment, ``L``.
        right: frames of context after it, ``R``.
        shift: what is replaced. ``"left"``: missing left context by frames after; ``"center"``: a short last segment,
            and ``"right"``: missing right context, both by frames before. Empty for plain windows.

    Returns:
        One window for each segment; none for an empty sequence.

    Raises:
        UserError: if a number of frames is negative, a segment has none, or a side is unknown.

    Example:
        >>> [(window.start, window.stop) for window in context_windows(10, 4, left=2, right=2)]
        [(0, 8), (2, 10), (2, 10)]
        >>> [(window.start, window.stop) for window in context_windows(10, 4, left=2, right=2, shift=())]
        [(0, 6), (2, 10), (6, 10)]
    """
    starts = range(0, length, segment_length) if segment_length > 0 else (0,)  # the window refuses 0
    return [context_window(length, start, segment_length, left, right, shift=shift) for start in starts]


def context_window(
    length: int,
    segment_start: int,
    segment_length: int,
    left: int = 0,
    right: int = 0,
    *,
    shift: Collection[Side] = SIDES,
) -> ContextWindow:
    """Return the window of one segment of :func:`context_windows`, whose first frame is given.

    Raises:
        UserError: if a number of frames is negative, a segment has none, or a side is unknown.

    Example:
        >>> context_window(10, 8, 4, left=2, right=2)
        ContextWindow(start=2, stop=10, segment_start=8, segment_stop=10)
    """
    if segment_length < 1 or min(length, left, right) < 0:
        raise UserError(
            "a window needs length, left and right of at least 0 and segment_length of at least 1, "
            f"got {length}, {left}, {right} and {segment_length}"
        )
    if unknown := sorted(set(shift) - set(SIDES)):
        raise UserError(f"shift must name sides out of {', '.join(SIDES)}, got {', '.join(map(repr, unknown))}")
    segment_stop = min(segment_start + segment_length, length)
    stop = min(segment_stop + right, length)
    start = segment_start - left
    if "center" in shift:
        start -= segment_length - (segment_stop - segment_start)
    if "right" in shift:
        start -= right - (stop - segment_stop)
    if "left" in shift:
        # For every segment without full left context; the released code shifts the first one only and fails for
        # left + right > segment_length.
        stop = min(stop + max(left - segment_start, 0), length)
    return ContextWindow(max(start, 0), stop, segment_start, segment_stop)


def frames_to_final(
    segment_start: int, segment_length: int, left: int = 0, right: int = 0, *, shift: Collection[Side] = SIDES
) -> int:
    """Return after how many frames of a stream the window of a segment no longer changes.

    Example:
        >>> frames_to_final(0, 4, left=2, right=2), frames_to_final(8, 4, left=2, right=2)
        (8, 14)
    """
    extended = max(left - segment_start, 0) if "left" in shift else 0
    return segment_start + segment_length + right + extended
