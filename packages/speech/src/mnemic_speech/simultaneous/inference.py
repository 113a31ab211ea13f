"""Translation of endless speech: cut into utterances at pauses, each translated while it is spoken."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core import MemoryReport
from mnemic_core.session import Session
from mnemic_speech.resample import Resampler
from mnemic_speech.silence import Segment
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.stream import TranslationStream
from mnemic_speech.simultaneous.streams import WrittenWord
from mnemic_speech.waveform import Samples, as_waveform

_STEP_SECONDS = 0.1  # between looks at the open utterance


class SimultaneousTranslator(Session):
    """Translates speech of any length as it arrives, with bounded memory and cost per second.

    An utterance ends in a pause of ``settings.min_silence``, or without one after ``settings.max_seconds``. Words do
    not depend on how the samples were pushed.

    Args:
        translator: trained network with features, normalization and vocabulary.
        settings: how to run it; None: those of the checkpoint.
        sample_rate: of the samples pushed, in Hz; None: that of the features.

    Raises:
        UserError: if features are normalized by the whole utterance, which a stream does not know.
    """

    session_kind = "simultaneous translation session"

    _received: int  # samples
    _position: int  # samples at the rate of the features that the stream of the utterance has got, or that were silent
    _held: Tensor  # samples that wait for a whole step
    _start: float | None  # of the utterance, seconds; None in a pause
    _utterance: int  # number of the utterance

    def __init__(
        self, translator: Translator, settings: TranslationSettings | None = None, sample_rate: int | None = None
    ) -> None:
        self._translator, self._settings = translator, settings or translator.settings
        self._own_rate = translator.features.config.sample_rate
        self._sample_rate = sample_rate or self._own_rate
        self._resampler = Resampler(self._sample_rate, self._own_rate)
        self._splitter = self._settings.splitter(self._own_rate)
        self._stream = TranslationStream(translator, self._settings)
        self._reset()

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self._received / self._sample_rate

    def push(self, samples: Samples) -> list[WrittenWord]:
        """Return the words written with the next mono samples, float in [-1, 1] or integer; possibly none.

        Raises:
            UserError: if samples contain NaN or infinity; the stream is unchanged.
        """
        waveform = as_waveform(samples, self._received, self._sample_rate)
        self._received += len(waveform)
        return self._hear(self._resampler.push(waveform))

    def finish(self) -> list[WrittenWord]:
        """Return the remaining words, and reset for a new recording."""
        words = self._hear(self._resampler.finish()) + self._step(self._held)
        for segment in self._splitter.finish():
            words += self._end(segment, wait=0.0)
        self._reset()
        return words

    def report(self) -> MemoryReport:
        """Return the report of the last layer's memory in the present utterance."""
        return self._stream.report()

    def session_model(self) -> AugmentedMemoryTransformer:
        """Return the network."""
        return self._translator.model

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of translation, sampling rate, features and vocabulary."""
        return self._stream.session_settings() | {"sample_rate": self._sample_rate}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the recording so far as tensors and plain values, of bounded size."""
        return {
            "received": self._received,
            "position": self._position,
            "start": self._start,
            "utterance": self._utterance,
            "held": self._held,
            "resampler": self._resampler.state_dict(),
            "splitter": self._splitter.state_dict(),
            "stream": self._stream.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a recording with the same translator and settings."""
        self._received, self._position, self._held = state["received"], state["position"], state["held"]
        self._start, self._utterance = state["start"], state["utterance"]
        self._resampler.load_state_dict(state["resampler"])
        self._splitter.load_state_dict(state["splitter"])
        self._stream.load_state_dict(state["stream"])

    def _reset(self) -> None:
        self._received = self._position = self._utterance = 0
        self._start, self._held = None, torch.zeros(0)

    def _hear(self, waveform: Float[Tensor, " samples"]) -> list[WrittenWord]:
        """Return the words written with whole steps of samples, so that they do not depend on how these were pushed."""
        words, size = list[WrittenWord](), round(_STEP_SECONDS * self._own_rate)
        self._held = torch.cat([self._held, waveform])
        while len(self._held) >= size:
            step, self._held = self._held[:size], self._held[size:].clone()
            words += self._step(step)
        return words

    def _step(self, samples: Float[Tensor, " samples"]) -> list[WrittenWord]:
        words = list[WrittenWord]()
        for segment in self._splitter.push(samples):
            words += self._end(segment, wait=self._settings.min_silence)
        if (unfinished := self._splitter.unfinished()) is not None:
            words += self._feed(unfinished)
        return words

    def _feed(self, segment: Segment) -> list[WrittenWord]:
        """Give what is new of a segment to the stream of the utterance."""
        first = round(segment.start * self._own_rate)
        begin = max(self._position, first)
        if self._start is None:
            self._start = begin / self._own_rate
        new = segment.samples[begin - first :]
        self._position = max(self._position, first + len(segment.samples))
        return self._placed(self._stream.push(new), wait=0.0)

    def _end(self, segment: Segment, wait: float) -> list[WrittenWord]:
        """Finish an utterance, whose end is known after ``wait`` seconds more."""
        words = self._feed(segment)
        words += self._placed(self._stream.finish(), 0.0 if segment.is_cut else wait)
        self._start, self._utterance = None, self._utterance + 1
        return words

    def _placed(self, words: list[WrittenWord], wait: float) -> list[WrittenWord]:
        """Return words with their times in the recording."""
        start = (self._start or 0.0) + wait
        return [
            replace(word, seconds=min(self.seconds, start + word.seconds), utterance=self._utterance) for word in words
        ]
