"""Transcripts of recordings: words and segments with times, exported as text, JSON and subtitles."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Literal, TypeAlias

from mnemic_core.errors import UserError

TranscriptFormat: TypeAlias = Literal["txt", "json", "srt", "vtt"]

# Subtitles as broadcasters set them: two lines of 42 characters, read in one to seven seconds.
_LINE_LENGTH, _NUM_LINES = 42, 2
_MIN_SECONDS, _MAX_SECONDS = 1.0, 7.0
_PAUSE_SECONDS = 1.0  # a pause this long ends a subtitle


@dataclass(frozen=True)
class Word:
    """A word and its time in the recording.

    Args:
        text: the word.
        start: seconds from the beginning of the recording.
        end: seconds, not before ``start``.
        confidence: mean probability of its tokens, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float = 1.0

    def __post_init__(self) -> None:
        _check_times(f"word {self.text!r}", self.start, self.end)


@dataclass(frozen=True)
class TranscriptSegment:
    """A stretch of speech between two pauses.

    Args:
        start: seconds from the beginning of the recording.
        end: seconds, not before ``start``.
        text: its words; may be empty.
        words: its words with their times; empty where no times are known.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        _check_times("segment", self.start, self.end)


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording.

    Args:
        segments: in the order of time.
        duration: of the recording, seconds.
        language: code of the language, such as ``"en"``, where known.
    """

    segments: tuple[TranscriptSegment, ...]
    duration: float
    language: str | None = None

    @property
    def text(self) -> str:
        """The full text on one line."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    def to_text(self) -> str:
        """Return one line for each segment."""
        return "".join(f"{segment.text}\n" for segment in self.segments if segment.text)

    def to_dict(self) -> dict[str, Any]:
        """Return text, segments and words with their times as JSON-compatible values."""
        return {"text": self.text} | asdict(self, dict_factory=_rounded)

    def to_json(self) -> str:
        """Return what `to_dict` returns as indented JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def render(self, kind: TranscriptFormat) -> str:
        """Return the content of a file: lines of text, JSON, or subtitles."""
        writers = {"txt": self.to_text, "json": self.to_json, "srt": self.to_srt, "vtt": self.to_vtt}
        return writers[kind]()

    def to_srt(self) -> str:
        """Return subtitles in SubRip form."""
        cues = enumerate(_cues(self), 1)
        return "".join(
            f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n" for number, cue in cues
        )

    def to_vtt(self) -> str:
        """Return subtitles in WebVTT form."""
        return "WEBVTT\n\n" + "".join(
            f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n\n" for cue in _cues(self)
        )


@dataclass(frozen=True)
class _Cue:
    """A subtitle with its times in milliseconds."""

    start: int
    end: int
    text: str


def _cues(transcript: Transcript) -> list[_Cue]:
    """Return subtitles that fit the screen, are shown long enough to read, and never overlap."""
    groups = [group for segment in transcript.segments for group in _groups(_timed_words(segment))]
    starts = [round(1000 * group[0].start) for group in groups]
    ends = [max(word.end for word in group) for group in groups]
    cues: list[_Cue] = []
    for group, start, end, following in zip(groups, starts, ends, [*starts, None][1:], strict=True):
        begin = max(start, cues[-1].end) if cues else start
        shown = max(end, min(group[0].start + _MIN_SECONDS, transcript.duration))
        finish = round(1000 * min(shown, group[0].start + _MAX_SECONDS))
        finish = finish if following is None else min(finish, following)
        cues.append(_Cue(begin, max(finish, begin + 1), "\n".join(_lines(group))))
    return cues


def _timed_words(segment: TranscriptSegment) -> Sequence[Word]:
    """Return the words of a segment; without known times they divide it evenly."""
    if segment.words:
        return segment.words
    words = segment.text.split()
    step = (segment.end - segment.start) / max(len(words), 1)
    times = [segment.start + place * step for place in range(len(words))]
    return [Word(word, time, time + step) for word, time in zip(words, times, strict=True)]


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Group the words of a segment into subtitles."""
    group: list[Word] = []
    for word in words:
        if group and not _fits(word, group):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _fits(word: Word, group: list[Word]) -> bool:
    is_soon = word.start - group[-1].end < _PAUSE_SECONDS and word.end - group[0].start <= _MAX_SECONDS
    return is_soon and len(_lines([*group, word])) <= _NUM_LINES


def _lines(words: Sequence[Word]) -> list[str]:
    # Long words are not broken: hyphenation depends on the language.
    return wrap(" ".join(word.text for word in words), _LINE_LENGTH, break_long_words=False, break_on_hyphens=False)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return JSON-compatible values, with times rounded to milliseconds."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in listed.items()}


def _check_times(name: str, start: float, end: float) -> None:
    if not 0 <= start <= end:
        raise UserError(f"a {name} cannot be from {start} s to {end} s: times are not negative, the end not earlier")
