"""Joining the words of two overlapping segments without loss or duplication."""

from collections.abc import Sequence

from mnemic_speech.transcript import Word

_EDGE = 0.25  # share of the overlap at each end where words are cut or lack context in one of the segments


def find_border(words: Sequence[Word], start: float, end: float) -> float:
    """Return the time at which to switch from the first to the second of two segments.

    The border is the middle of the widest gap between words, which is most robust to different word times in the
    second segment. Only the middle half of the overlap is considered: words at its end are cut or lack context in the
    first segment, those at its start in the second.

    Args:
        words: of the first segment, in time order.
        start: start of the overlap, seconds.
        end: end of the first segment, seconds.

    Example:
        >>> find_border([Word("one", 7.0, 8.9), Word("two", 9.5, 11.0)], start=8.0, end=10.0)
        9.2
    """
    low, high = start + _EDGE * (end - start), end - _EDGE * (end - start)
    ends = [start, *(word.end for word in words)]
    starts = [*(word.start for word in words), end]
    gaps = [(max(before, low), min(after, high)) for before, after in zip(ends, starts, strict=True)]
    before, after = max(gaps, key=lambda gap: gap[1] - gap[0])
    # A word that fills the middle half leaves no gap: then the midpoint assigns it.
    return (before + after) / 2 if after > before else (low + high) / 2


def split_words(words: Sequence[Word], border: float) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the words before and after a border, by their midpoints."""
    before = tuple(word for word in words if _middle(word) < border)
    return before, tuple(word for word in words if _middle(word) >= border)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2
