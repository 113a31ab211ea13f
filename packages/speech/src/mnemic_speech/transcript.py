"""Transcripts of recordings: words and segments with times, exported as text, JSON and subtitles."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from mnemic_core.errors import UserError
from mnemic_speech.subtitles import Cue, TimedText, subtitles

TranscriptFormat: TypeAlias = Literal["txt", "json", "srt", "vtt"]


@dataclass(frozen=True)
class Word:
    """A word and its time in the recording.

    Args:
        text: the word.
        start: seconds from the beginning of the recording.
        end: seconds, not before ``start``.
        confidence: mean probability of its tokens, 0 to 1.
        channel: of the recording, from 1, where channels were transcribed apart.
    """

    text: str
    start: float
    end: float
    confidence: float = 1.0
    channel: int | None = None

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
        uncertainty: mean entropy of the recognizer's frames in nats, see `Uncertainty`, where known; of channels that
            were transcribed apart the highest.
    """

    segments: tuple[TranscriptSegment, ...]
    duration: float
    language: str | None = None
    uncertainty: float | None = None

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


def join_channels(transcripts: Mapping[int, Transcript]) -> Transcript:
    """Return one transcript of the channels of a recording, in the order of time; words carry their channel."""
    segments = [
        replace(segment, words=tuple(replace(word, channel=channel) for word in segment.words))
        for channel, transcript in transcripts.items()
        for segment in transcript.segments
    ]
    duration = max(transcript.duration for transcript in transcripts.values())
    known = [each.uncertainty for each in transcripts.values() if each.uncertainty is not None]
    ordered = tuple(sorted(segments, key=lambda segment: segment.start))
    return Transcript(ordered, duration, uncertainty=max(known, default=None))


def _cues(transcript: Transcript) -> list[Cue]:
    """Return the subtitles; those of different channels may overlap."""
    channels: dict[int | None, list[list[TimedText]]] = {}
    for segment in transcript.segments:
        channel = segment.words[0].channel if segment.words else None
        channels.setdefault(channel, []).append(_timed_words(segment))
    cues = [cue for segments in channels.values() for cue in subtitles(segments, transcript.duration)]
    return sorted(cues, key=lambda cue: cue.start)


def _timed_words(segment: TranscriptSegment) -> list[TimedText]:
    """Return the words of a segment; without known times they divide it evenly."""
    if segment.words:
        return [TimedText(word.text, word.start, word.end) for word in segment.words]
    words = segment.text.split()
    step = (segment.end - segment.start) / max(len(words), 1)
    times = [segment.start + place * step for place in range(len(words))]
    return [TimedText(word, time, time + step) for word, time in zip(words, times, strict=True)]


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return JSON-compatible values, with times rounded to milliseconds."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in pairs if name != "channel"}
    listed |= {name: value for name, value in pairs if name == "channel" and value is not None}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in listed.items()}


def _check_times(name: str, start: float, end: float) -> None:
    if not 0 <= start <= end:
        raise UserError(f"a {name} cannot be from {start} s to {end} s: times are not negative, the end not earlier")
