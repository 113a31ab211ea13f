"""Cutting sequences into segments and running memories over them."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.layers import or_no_padding
from mnemic_core.memory import SegmentMemory
from mnemic_core.state import MemoryState

S = TypeVar("S", bound=MemoryState)

Align = Literal["left", "right", "center"]


def split_segments(
    x: Shaped[Tensor, "batch time *item"],
    length: int,
    *,
    align: Align = "left",
    padding: Bool[Tensor, "batch time"] | None = None,
) -> tuple[list[Shaped[Tensor, "batch length *item"]], list[Bool[Tensor, "batch length"]]]:
    """Cut a sequence into segments of one length, padded with zeros.

    Args:
        x: the sequence; an empty one gives no segments.
        length: tokens of a segment, at least 1.
        align: ``"left"`` pads the last segment, ``"right"`` the first, ``"center"`` both.
        padding: True at tokens of ``x`` to ignore.

    Returns:
        The segments, and the padding (True) of each.

    Example:
        >>> segments, paddings = split_segments(torch.tensor([[1, 2, 3]]), 2, align="right")
        >>> [segment.tolist() for segment in segments]
        [[[0, 1]], [[2, 3]]]
    """
    before, after = _margins(x.shape[1], length, align)
    padded = F.pad(x, (0, 0) * (x.ndim - 2) + (before, after))
    mask = F.pad(or_no_padding(padding, x), (before, after), value=True)
    if padded.shape[1] == 0:
        return [], []
    return list(torch.split(padded, length, dim=1)), list(torch.split(mask, length, dim=1))


def join_segments(
    segments: Sequence[Shaped[Tensor, "batch length *item"]], time: int, *, align: Align = "left"
) -> Shaped[Tensor, "batch time *item"]:
    """Undo :func:`split_segments` for a sequence of ``time`` tokens and the same alignment."""
    before, _ = _margins(time, segments[0].shape[1], align)
    return torch.cat(list(segments), dim=1)[:, before : before + time]


def run_segments(
    module: SegmentMemory[S],
    segments: Sequence[Float[Tensor, "batch _length dim"]],
    state: S,
    *,
    paddings: Sequence[Bool[Tensor, "batch _length"]] | None = None,
    bptt: int | None = None,
    reset: Bool[Tensor, "segment batch"] | None = None,
) -> tuple[list[Float[Tensor, "batch _length dim"]], S]:
    """Run a module over segments with truncated back-propagation and return the outputs and the last state.

    Args:
        module: the memory.
        segments: at least one.
        state: before the first segment; gradients reach it through the first ``bptt`` segments.
        paddings: True at tokens to ignore, for each segment.
        bptt: segments between detached states, counted from the first segment; None detaches nowhere.
        reset: True where a row begins a new sequence with that segment.

    Raises:
        UserError: if ``bptt`` is below 1, or numbers of paddings or resets and segments differ.
    """
    check_at_least(1, "use None for full back-propagation", bptt=bptt)
    for name, given in (("paddings", paddings), ("reset", reset)):
        if given is not None and len(given) != len(segments):
            raise UserError(f"{name} must have one entry for each of the {len(segments)} segments, got {len(given)}")
    outputs = []
    for index, segment in enumerate(segments):
        # Not before the first segment: the initial state may be learned.
        if bptt is not None and index and index % bptt == 0:
            state = state.detach()
        output, state = module(
            segment,
            state,
            padding=None if paddings is None else paddings[index],
            reset=None if reset is None else reset[index],
        )
        outputs.append(output)
    return outputs, state


def run_in_segments(
    module: SegmentMemory[S],
    x: Float[Tensor, "batch time dim"],
    state: S,
    length: int | None,
    *,
    padding: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time out_dim"], S]:
    """Run a module over a sequence in segments of ``length`` tokens, None for one, and return outputs and state."""
    length = length or x.shape[1]
    paddings = None if padding is None else padding.split(length, dim=1)
    outputs, state = run_segments(module, x.split(length, dim=1), state, paddings=paddings)
    return torch.cat(outputs, dim=1), state


def _margins(time: int, length: int, align: Align) -> tuple[int, int]:
    """Return how many padding tokens go before and after the sequence."""
    check_at_least(1, length=length)
    check_choice(Align, align=align)
    missing = -time % length
    before = {"left": 0, "right": missing, "center": missing // 2}[align]
    return before, missing - before
