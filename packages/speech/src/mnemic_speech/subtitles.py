"""Subtitles as broadcasters set them: two lines of 42 columns, shown for one to seven seconds."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

_LINE_COLUMNS, _NUM_LINES = 42, 2
_MIN_SECONDS, _MAX_SECONDS = 1.0, 7.0
_PAUSE_SECONDS = 1.0  # a pause this long ends a subtitle
_WIDE = frozenset("WF")  # characters that take two columns, as in Chinese, Japanese and Korean


@dataclass(frozen=True)
class TimedText:
    """A word, or a part of a long one, with its time.

    Attributes:
        text: the text.
        start: seconds from the beginning of the recording.
        end: seconds.
        begins_word: whether a space comes before it.
    """

    text: str
    start: float
    end: float
    begins_word: bool = True


@dataclass(frozen=True)
class Cue:
    """A subtitle with its times in milliseconds."""

    start: int
    end: int
    text: str


def subtitles(segments: Sequence[Sequence[TimedText]], duration: float) -> list[Cue]:
    """Return subtitles that fit the screen, are shown long enough to read, and never overlap.

    Words that are wider than a line, or without spaces in between and longer than a subtitle, are divided.

    Args:
        segments: words of each stretch of speech.
        duration: of the recording in seconds.

    Example:
        >>> [cue.text for cue in subtitles([[TimedText("one", 0.0, 0.4), TimedText("two", 3.0, 3.4)]], 5.0)]
        ['one', 'two']
    """
    divided = [[part for word in words for part in _divided(word)] for words in segments]
    groups = [group for parts in divided for group in _groups(parts)]
    starts = [round(1000 * group[0].start) for group in groups]
    ends = [max(part.end for part in group) for group in groups]
    cues: list[Cue] = []
    for group, start, end, following in zip(groups, starts, ends, [*starts, None][1:], strict=True):
        begin = max(start, cues[-1].end) if cues else start
        shown = max(end, min(group[0].start + _MIN_SECONDS, duration))
        finish = round(1000 * min(shown, group[0].start + _MAX_SECONDS))
        finish = finish if following is None else min(finish, following)
        cues.append(Cue(begin, max(finish, begin + 1), "\n".join(_lines(group))))
    return cues


def columns(text: str) -> int:
    """Return how many columns a text takes on a screen.

    Example:
        >>> columns("abc"), columns("今天")
        (3, 4)
    """
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character).startswith("M"):  # a mark on the character before
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def _divided(word: TimedText) -> list[TimedText]:
    """Return a word in parts of about even width, whose times follow from their widths."""
    before = [0, *accumulate(map(_columns, word.text))]  # columns before each character
    width = before[-1]
    number = ceil(width / (_LINE_COLUMNS - 1))  # a wide character may not fit into the last column
    if width > len(word.text):  # a script without spaces: the "word" is a sentence
        number = max(number, min(ceil((word.end - word.start) / _MAX_SECONDS), len(word.text)))
    if number <= 1:
        return [word]
    places = [place * number // width for place in before[:-1]]
    letters = [place for place, character in enumerate(word.text) if _columns(character)]  # marks stay with theirs
    ends = [following for letter, following in pairwise(letters) if places[following] > places[letter]]
    step = (word.end - word.start) / width
    return [
        TimedText(
            word.text[first:end],
            word.start + before[first] * step,
            word.start + before[end] * step,
            begins_word=not first,
        )
        for first, end in pairwise([0, *ends, len(places)])
    ]


def _groups(parts: Sequence[TimedText]) -> Iterator[list[TimedText]]:
    """Group the words of a segment into subtitles."""
    group: list[TimedText] = []
    for part in parts:
        if group and not _fits(part, group):
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _fits(part: TimedText, group: list[TimedText]) -> bool:
    is_soon = part.start - group[-1].end < _PAUSE_SECONDS and part.end - group[0].start <= _MAX_SECONDS
    return is_soon and len(_lines([*group, part])) <= _NUM_LINES


def _lines(parts: Sequence[TimedText]) -> list[str]:
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} {part.text}" if part.begins_word and lines[-1] else lines[-1] + part.text
        if lines[-1] and columns(longer) > _LINE_COLUMNS:
            lines.append(part.text)
        else:
            lines[-1] = longer
    return lines
