"""Joining the words of two segments that overlap, none lost and none twice."""

from collections.abc import Sequence

from mnemic_speech.transcript import Word

_EDGE = 0.25  # share of the overlap at each end where a word may be cut, or lacks context, in one of the segments


def find_border(words: Sequence[Word], start: float, end: float) -> float:
    """Return where the first of two segments is to stop and the second to begin.

    The border lies in the middle of the widest gap between words, since there it matters least that the second
    segment tells slightly other times. Gaps count as far as they are in the middle half of the overlap: words at its
    end are cut or lack context in the first segment, those at its beginning in the second.

    Args:
        words: of the first segment, in the order of time.
        start: where the overlap begins, seconds.
        end: where the first segment ends, seconds.

    Example:
        >>> find_border([Word("one", 7.0, 8.9), Word("two", 9.5, 11.0)], start=8.0, end=10.0)
        9.2
    """
    low, high = start + _EDGE * (end - start), end - _EDGE * (end - start)
    ends = [start, *(word.end for word in words)]
    starts = [*(word.start for word in words), end]
    gaps = [(max(before, low), min(after, high)) for before, after in zip(ends, starts, strict=True)]
    before, after = max(gaps, key=lambda gap: gap[1] - gap[0])
    # A word that fills the whole middle leaves no gap; then it is the middle that decides who has the word.
    return (before + after) / 2 if after > before else (low + high) / 2


def split_words(words: Sequence[Word], border: float) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the words before a border and those behind it, by their midpoints."""
    before = tuple(word for word in words if _middle(word) < border)
    return before, tuple(word for word in words if _middle(word) >= border)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2
