"""Translation of several utterances in a batch: samples in, words with the time at which they were written out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mnemic_core.errors import UserError
from mnemic_speech.features import FeatureStream
from mnemic_speech.resample import Resampler
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.decoding import DecodingState, StreamDecoder
from mnemic_speech.simultaneous.encoder_stream import EncoderStreams, EncoderStreamState
from mnemic_speech.simultaneous.quality import has_spaces
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.waveform import Samples, as_waveform


@dataclass(frozen=True)
class WrittenWord:
    """A word of a translation.

    Attributes:
        text: the word.
        seconds: how much of the source had been heard when it was written.
        utterance: number of its utterance in the recording.
    """

    text: str
    seconds: float
    utterance: int = 0


class TranslationStreams:
    """Translates several utterances in a batch while they are spoken, each at its own pace.

    The source is looked at in chunks of the network's decisions, 320 ms by default, so that words do not depend on how
    the samples were pushed, nor on the other utterances. A word is written when the next one begins or the translation
    ends, or at once where pieces mark the ends of words. In languages without spaces each token is a word.

    Args:
        translator: trained network with features, normalization and vocabulary.
        batch: number of utterances.
        settings: how to run it; None: those of the checkpoint.
        sample_rate: of the samples pushed, in Hz; None: that of the features.

    Raises:
        UserError: if features are normalized by the whole utterance, which a stream does not know.
    """

    encoding: EncoderStreamState
    decoding: DecodingState

    def __init__(
        self,
        translator: Translator,
        batch: int,
        settings: TranslationSettings | None = None,
        sample_rate: int | None = None,
    ) -> None:
        self.translator, self.settings = translator, settings or translator.settings
        model, features = translator.model.eval(), translator.features
        if translator.normalizer.kind == "utterance":
            raise UserError("features normalized by the utterance cannot be streamed: train with global normalization")
        self.sample_rate = sample_rate or features.config.sample_rate
        self._encoder = EncoderStreams(model.encoder, self.settings.shift)
        policy = self.settings.policy.build(model.config.ratio)
        self._decoder = StreamDecoder(model, policy, self.settings.max_tokens)
        self._chunk = STRIDE * model.config.ratio  # feature frames
        self._rows = [_Row(translator, self.sample_rate) for _ in range(batch)]
        self._device = next(model.parameters()).device
        self.encoding = self._encoder.start(batch, self._device)
        self.decoding = self._decoder.start(batch, self._device)

    def seconds(self, row: int) -> float:
        """Return the length of an utterance so far."""
        return self._rows[row].seconds

    def finished(self, row: int) -> bool:
        """Return whether a translation is complete; further samples change nothing."""
        return bool(self.decoding.finished[row])

    def push(self, samples: Sequence[Samples | None]) -> list[list[WrittenWord]]:
        """Return the words written with the next mono samples of each utterance; None: none for it.

        Raises:
            UserError: if samples contain NaN or infinity; the streams are unchanged.
        """
        if len(samples) != len(self._rows):
            raise UserError(f"expected samples for {len(self._rows)} utterances, got {len(samples)}")
        given = [row.waveform(each) for row, each in zip(self._rows, samples, strict=True)]  # all, before any is used
        for row, waveform in zip(self._rows, given, strict=True):
            row.hear(waveform)
        return self._read([self._chunk] * len(self._rows))

    def finish(self, rows: Sequence[int] | None = None) -> list[list[WrittenWord]]:
        """Return the remaining words of the utterances that end, and reset these for new ones; None: all of them."""
        ending = range(len(self._rows)) if rows is None else rows
        for row in ending:
            self._rows[row].hear_end()
        # The last chunk tells that it is the last.
        needed = [self._chunk + 1 if row in ending else self._chunk for row in range(len(self._rows))]
        words = self._read(needed)
        is_end = torch.tensor([row in ending for row in range(len(self._rows))], device=self._device)
        for row, last in enumerate(self._advance(is_end, is_end)):
            words[row] += last
        self.encoding = self.encoding.replace_rows(is_end, self._encoder.start(len(self._rows), self._device))
        self.decoding = self._decoder.restart(self.decoding, is_end)
        for row in ending:
            self._rows[row].reset()
        return words

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the utterances so far as tensors and plain values."""
        rows = [row.state_dict() for row in self._rows]
        return {"rows": rows, "encoding": self.encoding.to_dict(), "decoding": self.decoding.to_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of as many streams with the same translator and settings."""
        for row, kept in zip(self._rows, state["rows"], strict=True):
            row.load_state_dict(kept)
        self.encoding = self.encoding.refill(state["encoding"])
        # Not refilled: it grows with the frames and tokens of the utterance.
        self.decoding = DecodingState.from_dict(state["decoding"]).to(self._device)

    def _read(self, needed: Sequence[int]) -> list[list[WrittenWord]]:
        """Read chunks as long as so many features wait in a row."""
        words: list[list[WrittenWord]] = [[] for _ in self._rows]
        while True:
            ready = [len(row.held) >= number for row, number in zip(self._rows, needed, strict=True)]
            if not any(ready):
                return words
            is_ready = torch.tensor(ready, device=self._device)
            for row, new in enumerate(self._advance(is_ready, torch.zeros_like(is_ready))):
                words[row] += new

    def _advance(self, ready: Tensor, ended: Tensor) -> list[list[WrittenWord]]:
        """Read a chunk of the rows that are ready, and return the words that are complete."""
        chunks = [
            row.take(self._chunk) if is_ready else row.held[:0]
            for row, is_ready in zip(self._rows, ready.tolist(), strict=True)
        ]
        lengths = torch.tensor([len(chunk) for chunk in chunks], device=self._device)
        final, unfinished, self.encoding = self._encoder.push(
            pad_sequence(chunks, batch_first=True), lengths, self.encoding, ended
        )
        tokens, self.decoding = self._decoder.advance(self.decoding, final, unfinished, ended, ready)
        received, done = self.encoding.received.tolist(), self.decoding.finished.tolist()
        words = []
        for row, new in enumerate(tokens):
            is_end = bool(ended[row])
            self._rows[row].heard(received[row], is_end=is_end)
            words.append(self._rows[row].write(new, complete=done[row] or is_end))
        return words


class _Row:
    """One utterance of several: its samples and features that wait, and its tokens.

    Args:
        translator: network with features, normalization and vocabulary.
        sample_rate: of its samples, in Hz.
    """

    held: Float[Tensor, "frame mel"]  # normalized features that wait for a whole chunk
    _received: int  # samples
    _heard: float  # seconds that the network has read
    _tokens: list[int]
    _num_words: int  # written

    def __init__(self, translator: Translator, sample_rate: int) -> None:
        self._translator, self._rate = translator, sample_rate
        self._resampler = Resampler(sample_rate, translator.features.config.sample_rate)
        self._features = FeatureStream(translator.features)
        self.reset()

    @property
    def seconds(self) -> float:
        return self._received / self._rate

    def reset(self) -> None:
        device = next(self._translator.model.parameters()).device
        self.held = torch.zeros(0, self._translator.features.config.num_mels, device=device)
        self._received, self._heard, self._num_words, self._tokens = 0, 0.0, 0, []

    def waveform(self, samples: Samples | None) -> Float[Tensor, " samples"]:
        return torch.zeros(0) if samples is None else as_waveform(samples, self._received, self._rate)

    def hear(self, waveform: Float[Tensor, " samples"]) -> None:
        self._received += len(waveform)
        self._hold(self._features.push(self._resampler.push(waveform)))

    def hear_end(self) -> None:
        rest = self._features.push(self._resampler.finish())
        self._hold(torch.cat([rest, self._features.finish()]))

    def take(self, number: int) -> Float[Tensor, "frame mel"]:
        chunk, self.held = self.held[:number], self.held[number:]
        return chunk

    def heard(self, frames: int, *, is_end: bool) -> None:
        read = frames * self._translator.features.config.frame_seconds
        self._heard = self.seconds if is_end else min(self.seconds, read)

    def write(self, tokens: Sequence[int], *, complete: bool) -> list[WrittenWord]:
        """Return the words that are new; the last one may go on, unless it is marked or the translation complete."""
        self._tokens += tokens
        tokenizer = self._translator.tokenizer
        if has_spaces(self._translator.target):
            spans = tokenizer.word_spans(self._tokens)
            done = len(spans) if complete or tokenizer.ends_word(self._tokens) else max(0, len(spans) - 1)
        else:  # each token is written at once
            spans = [(place, place + 1) for place, token in enumerate(self._tokens) if tokenizer.decode([token])]
            done = len(spans)
        new = spans[self._num_words : done]
        self._num_words = max(self._num_words, done)
        return [WrittenWord(tokenizer.decode(self._tokens[a:b]), self._heard) for a, b in new]

    def state_dict(self) -> dict[str, Any]:
        return {
            "received": self._received,
            "resampler": self._resampler.state_dict(),
            "features": self._features.state_dict(),
            "held": self.held,
            "tokens": list(self._tokens),
            "num_words": self._num_words,
            "heard": self._heard,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.reset()
        self._received, self._heard = state["received"], state["heard"]
        self.held = state["held"].to(self.held.device)
        self._resampler.load_state_dict(state["resampler"])
        self._features.load_state_dict(state["features"])
        self._tokens, self._num_words = list(state["tokens"]), state["num_words"]

    def _hold(self, features: Float[Tensor, "frame mel"]) -> None:
        if len(features):
            lengths = torch.tensor([len(features)], device=self.held.device)
            normalized = self._translator.normalizer(features[None].to(self.held.device), lengths)[0]
            self.held = torch.cat([self.held, normalized])
