"""Streaming transcription."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core import MemoryReport, MemoryState
from mnemic_core.errors import UserError
from mnemic_core.session import Session
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.joining import find_border, split_words
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.conformer_ntm.recognition import Recognition, recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.resample import Resampler
from mnemic_speech.silence import Segment
from mnemic_speech.transcript import Transcript, TranscriptSegment, Word
from mnemic_speech.uncertainty import Uncertainty
from mnemic_speech.waveform import Samples, as_waveform


@dataclass(frozen=True)
class _Tail:
    """Overlap of a segment cut in speech with the next one.

    Attributes:
        samples: its audio.
        start: seconds from the start of the recording.
        border: from here on the words of the next segment are used, seconds.
        words: words after the border, used if no segment follows.
    """

    samples: Float[Tensor, " samples"]
    start: float
    border: float
    words: tuple[Word, ...]


class TranscriptStream(Session):
    """Transcribes a recording incrementally, with bounded memory and cost per call.

    Returned segments are final and do not depend on how the samples were pushed.

    Args:
        recognizer: trained network with features, normalization and vocabulary.
        settings: how to run it.
        sample_rate: of the samples pushed, in Hz.
    """

    session_kind = "transcription session"

    def __init__(self, recognizer: Recognizer, settings: TranscriptionSettings, sample_rate: int) -> None:
        self._recognizer, self._settings = recognizer, settings
        self._sample_rate = sample_rate
        self._own_rate = recognizer.features.config.sample_rate
        self._resampler = Resampler(sample_rate, self._own_rate)
        self._splitter = settings.splitter(self._own_rate)
        self._memory = recognizer.model.init_state(1)
        self._is_fresh = True  # no segment yet, so there is no memory to carry over
        self._received = 0
        self._tail: _Tail | None = None
        self._partial: str | None = None
        self._uncertainty = Uncertainty()

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self._received / self._sample_rate

    @property
    def memory(self) -> MemoryState:
        """State of the memory after the last segment; kept when a recording ends."""
        return self._memory

    def push(self, samples: Samples) -> list[TranscriptSegment]:
        """Return the segments completed by the next mono samples, float in [-1, 1] or integer; possibly none.

        Raises:
            UserError: if samples contain NaN or infinity; the stream is unchanged.
        """
        waveform = as_waveform(samples, self._received, self._sample_rate)
        if self._received == 0:
            self._uncertainty = Uncertainty()
        self._received += len(waveform)
        segments = self._transcribe_segments(self._splitter.push(self._resampler.push(waveform)))
        return segments + (self._flush_tail() if self._splitter.unfinished() is None else [])

    def partial(self) -> str:
        """Return the preliminary text of the open segment, by greedy CTC where available.

        The cost is that of a segment of this length; the result is cached until the next push.
        """
        if self._partial is None:
            self._partial = self._transcribe_unfinished()
        return self._partial

    def finish(self) -> list[TranscriptSegment]:
        """Return the remaining segments, and reset for a new recording."""
        rest = self._splitter.push(self._resampler.finish())
        segments = self._transcribe_segments(rest + self._splitter.finish()) + self._flush_tail()
        self._is_fresh, self._received = True, 0
        return segments

    def finish_transcript(self, segments: Sequence[TranscriptSegment]) -> Transcript:
        """Return the transcript of the recording, given the segments so far, and reset for a new recording."""
        duration = self.seconds  # finish() resets it
        rest = self.finish()
        return Transcript((*segments, *rest), duration, uncertainty=self.uncertainty)

    @property
    def uncertainty(self) -> float | None:
        """That of the recording so far, after `finish` that of the one that ended; None without CTC."""
        return None if self._recognizer.model.ctc is None else self._uncertainty.per_frame

    def report(self) -> MemoryReport:
        """Return the report of the memory after the last segment."""
        return self._recognizer.model.memory.report(self._memory)

    def session_model(self) -> ConformerNtm:
        """Return the network."""
        return self._recognizer.model

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of segmentation, decoding, sampling rate, features and vocabulary."""
        recognizer = self._recognizer
        own = {"sample_rate": self._sample_rate, "transcription": asdict(self._settings)}
        return own | {"features": asdict(recognizer.features.config), "tokenizer": recognizer.tokenizer.state()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the recording so far as tensors and plain values, of bounded size."""
        return {
            "sample_rate": self._sample_rate,
            "received": self._received,
            "resampler": self._resampler.state_dict(),
            "splitter": self._splitter.state_dict(),
            "memory": self._memory.to_dict(),
            "is_fresh": self._is_fresh,
            "uncertainty": asdict(self._uncertainty),
            "tail": None if self._tail is None else asdict(self._tail),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a stream with the same recognizer and settings.

        Raises:
            UserError: if the state is of another sampling rate or memory.
        """
        if state["sample_rate"] != self._sample_rate:
            raise UserError(
                f"the state is of a stream at {state['sample_rate']} Hz, this one is at {self._sample_rate}"
            )
        self._memory = self._recognizer.model.init_state(1).refill(state["memory"])
        self._is_fresh, self._received, self._partial = state["is_fresh"], state["received"], None
        self._uncertainty = Uncertainty(**state.get("uncertainty", {}))  # absent in sessions of earlier versions
        self._resampler.load_state_dict(state["resampler"])
        self._splitter.load_state_dict(state["splitter"])
        tail = state["tail"]
        self._tail = tail and _Tail(**{**tail, "words": tuple(Word(**word) for word in tail["words"])})

    def _transcribe_segments(self, segments: Sequence[Segment]) -> list[TranscriptSegment]:
        """Return the transcripts of complete segments."""
        self._partial = None
        found: list[TranscriptSegment] = []
        for segment in segments:
            tail = self._tail
            if tail is not None and round((segment.start - tail.start) * self._own_rate) != len(tail.samples):
                found += self._flush_tail()  # there is a gap between them
            recognized, self._memory = self._recognize(segment, self._settings)
            words, self._uncertainty = recognized.words, self._uncertainty + (recognized.uncertainty or Uncertainty())
            self._is_fresh = False
            start, end = segment.start if self._tail is None else self._tail.border, self._end(segment)
            self._tail = self._cut_tail(segment, words) if segment.is_cut else None
            if self._tail is not None:
                words, end = split_words(words, self._tail.border)[0], self._tail.border
            found += segment_of(start, end, words)
        return found

    def _recognize(self, segment: Segment, settings: TranscriptionSettings) -> tuple[Recognition, MemoryState]:
        """Return the result of a segment, its new words with times in the recording, and the memory."""
        start, samples = segment.start, segment.samples
        if self._tail is not None:
            start, samples = self._tail.start, torch.cat([self._tail.samples, samples])
        # The memory sees the overlap twice, since its state before the overlap is not kept.
        state = self._memory if settings.carry_memory and not self._is_fresh else None
        [found], state = recognize(self._recognizer, [samples], settings, state)
        words = tuple(replace(word, start=start + word.start, end=start + word.end) for word in found.words)
        return replace(found, words=words if self._tail is None else split_words(words, self._tail.border)[1]), state

    def _transcribe_unfinished(self) -> str:
        segment = self._splitter.unfinished()
        if segment is None:
            return ""
        has_ctc = self._recognizer.model.ctc is not None
        settings = replace(self._settings, decoding="ctc") if has_ctc else self._settings
        return _text(self._recognize(segment, settings)[0].words)

    def _cut_tail(self, segment: Segment, words: Sequence[Word]) -> _Tail:
        end, overlap = self._end(segment), self._settings.overlap
        border = find_border(words, end - overlap, end)
        # A copy, since a view would keep the full segment in memory.
        samples = segment.samples[-round(overlap * self._own_rate) :].clone()
        return _Tail(samples, end - len(samples) / self._own_rate, border, split_words(words, border)[1])

    def _flush_tail(self) -> list[TranscriptSegment]:
        """Return the words of a tail without a following segment."""
        tail, self._tail = self._tail, None
        if tail is None:
            return []
        return segment_of(tail.border, tail.start + len(tail.samples) / self._own_rate, tail.words)

    def _end(self, segment: Segment) -> float:
        return segment.start + len(segment.samples) / self._own_rate


def segment_of(start: float, end: float, words: tuple[Word, ...]) -> list[TranscriptSegment]:
    """Return the segment of some words; none without words."""
    # By rounding the last word may end after the segment.
    return [TranscriptSegment(start, max(end, words[-1].end), _text(words), words)] if words else []


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
