"""Translation of running speech: samples in, words with the time at which they were written out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_core.session import Session
from mnemic_speech.features import FeatureStream
from mnemic_speech.resample import Resampler
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.decoding import DecodingState, StreamDecoder
from mnemic_speech.simultaneous.encoder_stream import EncoderStreams, EncoderStreamState
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.waveform import Samples, as_waveform


@dataclass(frozen=True)
class WrittenWord:
    """A word of a translation.

    Attributes:
        text: the word.
        seconds: how much of the source had been heard when it was written.
    """

    text: str
    seconds: float


class TranslationStream(Session):
    """Translates an utterance while it is spoken.

    The source is looked at in chunks of the network's decisions, 320 ms by default, so that words do not depend on how
    the samples were pushed. A word is written when the next one begins or the translation ends.

    Args:
        translator: trained network with features, normalization and vocabulary.
        settings: how to run it; None: those of the checkpoint.
        sample_rate: of the samples pushed, in Hz; None: that of the features.

    Raises:
        UserError: if features are normalized by the whole utterance, which a stream does not know.
    """

    session_kind = "translation session"

    _received: int  # samples
    _heard: float  # seconds that the network has read
    _held: Tensor  # normalized features that wait for a whole chunk
    _encoding: EncoderStreamState
    _decoding: DecodingState
    _tokens: list[int]
    _num_words: int  # written

    def __init__(
        self, translator: Translator, settings: TranslationSettings | None = None, sample_rate: int | None = None
    ) -> None:
        self._translator, self._settings = translator, settings or translator.settings
        model, features = translator.model.eval(), translator.features
        if translator.normalizer.kind == "utterance":
            raise UserError("features normalized by the utterance cannot be streamed: train with global normalization")
        self._sample_rate = sample_rate or features.config.sample_rate
        self._resampler = Resampler(self._sample_rate, features.config.sample_rate)
        self._features = FeatureStream(features)
        self._encoder = EncoderStreams(model.encoder, self._settings.shift)
        policy = self._settings.policy.build(model.config.ratio)
        self._decoder = StreamDecoder(model, policy, self._settings.max_tokens)
        self._chunk = STRIDE * model.config.ratio  # feature frames
        self._reset()

    @property
    def seconds(self) -> float:
        """Length of the utterance so far."""
        return self._received / self._sample_rate

    @property
    def finished(self) -> bool:
        """Whether the translation is complete; further samples change nothing."""
        return bool(self._decoding.finished[0])

    def push(self, samples: Samples) -> list[WrittenWord]:
        """Return the words written with the next mono samples, float in [-1, 1] or integer; possibly none.

        Raises:
            UserError: if samples contain NaN or infinity; the stream is unchanged.
        """
        waveform = as_waveform(samples, self._received, self._sample_rate)
        self._received += len(waveform)
        self._hold(self._features.push(self._resampler.push(waveform)))
        return self._read(at_least=self._chunk)

    def finish(self) -> list[WrittenWord]:
        """Return the remaining words, and reset for a new utterance."""
        rest = self._features.push(self._resampler.finish())
        self._hold(torch.cat([rest, self._features.finish()]))
        words = self._read(at_least=self._chunk + 1)  # the last chunk tells that it is the last
        words += self._advance(self._held, ended=True) + self._words(complete=True)
        self._reset()
        return words

    def report(self) -> MemoryReport:
        """Return the report of the last layer's memory."""
        layer: Any = self._translator.model.encoder.layers[-1]
        memory = layer.memory or layer.bank
        report: MemoryReport = memory.report(self._encoding.memory[-1])
        return report

    def session_model(self) -> AugmentedMemoryTransformer:
        """Return the network."""
        return self._translator.model

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of translation, sampling rate, features and vocabulary."""
        own = {"sample_rate": self._sample_rate, "translation": asdict(self._settings)}
        features, tokenizer = self._translator.features.config, self._translator.tokenizer
        return own | {"features": asdict(features), "tokenizer": tokenizer.state()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the utterance so far as tensors and plain values."""
        return {
            "received": self._received,
            "resampler": self._resampler.state_dict(),
            "features": self._features.state_dict(),
            "held": self._held,
            "encoding": self._encoding.to_dict(),
            "decoding": self._decoding.to_dict(),
            "tokens": list(self._tokens),
            "num_words": self._num_words,
            "heard": self._heard,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a stream with the same translator and settings."""
        self._reset()
        self._received, self._held, self._heard = state["received"], state["held"], state["heard"]
        self._resampler.load_state_dict(state["resampler"])
        self._features.load_state_dict(state["features"])
        self._encoding = self._encoding.refill(state["encoding"])
        # Not refilled: it grows with the frames and tokens of the utterance.
        self._decoding = DecodingState.from_dict(state["decoding"]).to(self._held.device)
        self._tokens, self._num_words = list(state["tokens"]), state["num_words"]

    def _reset(self) -> None:
        device = next(self._translator.model.parameters()).device
        self._received, self._heard, self._num_words, self._tokens = 0, 0.0, 0, []
        self._held = torch.zeros(0, self._translator.features.config.num_mels, device=device)
        self._encoding, self._decoding = self._encoder.start(1, device), self._decoder.start(1, device)

    def _hold(self, features: Float[Tensor, "frame mel"]) -> None:
        if len(features):
            lengths = torch.tensor([len(features)], device=self._held.device)
            normalized = self._translator.normalizer(features[None].to(self._held.device), lengths)[0]
            self._held = torch.cat([self._held, normalized])

    def _read(self, at_least: int) -> list[WrittenWord]:
        """Read chunks as long as so many features wait."""
        words = []
        while len(self._held) >= at_least:
            chunk, self._held = self._held[: self._chunk], self._held[self._chunk :]
            words += self._advance(chunk, ended=False)
        return words

    def _advance(self, chunk: Float[Tensor, "frame mel"], *, ended: bool) -> list[WrittenWord]:
        """Read a chunk, and return the words that are complete."""
        is_end = torch.tensor([ended], device=chunk.device)
        lengths = torch.tensor([len(chunk)], device=chunk.device)
        final, unfinished, self._encoding = self._encoder.push(chunk[None], lengths, self._encoding, is_end)
        heard = int(self._encoding.received[0]) * self._translator.features.config.frame_seconds
        self._heard = self.seconds if ended else min(self.seconds, heard)
        (new,), self._decoding = self._decoder.advance(self._decoding, final, unfinished, is_end)
        self._tokens += new
        return self._words(complete=self.finished)

    def _words(self, *, complete: bool) -> list[WrittenWord]:
        """Return the words that are new; the last one may go on unless the translation is complete."""
        spans = self._translator.tokenizer.word_spans(self._tokens)
        done = len(spans) if complete else max(0, len(spans) - 1)
        new = spans[self._num_words : done]
        self._num_words = max(self._num_words, done)
        return [WrittenWord(self._translator.tokenizer.decode(self._tokens[a:b]), self._heard) for a, b in new]


def translate(
    translator: Translator,
    samples: Samples,
    sample_rate: int | None = None,
    settings: TranslationSettings | None = None,
) -> list[WrittenWord]:
    """Return the words of an utterance with the time at which each was written.

    Raises:
        UserError: if samples are not mono, NaN or infinite.
    """
    if len(samples) == 0:
        raise UserError("there is nothing to translate: the recording has no samples")
    stream = TranslationStream(translator, settings, sample_rate)
    return stream.push(samples) + stream.finish()
