"""Recognition of a batch of segments: features, encoder, memory, decoding and word times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from mnemic_core import MemoryState
from mnemic_speech.alignment import align_words
from mnemic_speech.beam_search import attention_rescore, beam_search
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.model import Encoded
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings, check_decoding
from mnemic_speech.ctc import greedy_ctc
from mnemic_speech.features import FeatureConfig
from mnemic_speech.subsampling import CONTEXT, FIELD, STRIDE
from mnemic_speech.text import Tokenizer
from mnemic_speech.transcript import Word
from mnemic_speech.uncertainty import Uncertainty
from mnemic_speech.word_times import extend_words

_MULTIPLE = 32  # feature frames are padded to a multiple: few shapes are faster on a CPU


@dataclass(frozen=True)
class Recognition:
    """Recognition result of a waveform.

    Args:
        text: the words with single spaces.
        tokens: decoded tokens, without start and end symbol.
        words: with times in seconds from the start of the waveform.
        score: log-probability, or the weighted sum that the search maximizes.
        uncertainty: of CTC; None without it.
    """

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    score: float
    uncertainty: Uncertainty | None = None


# Not inference mode: its tensors could not be used in training afterwards, and bf16 on a CPU is much slower in it.
@torch.no_grad()
def recognize(
    recognizer: Recognizer,
    waveforms: Sequence[Float[Tensor, " _samples"]],
    settings: TranscriptionSettings,
    state: MemoryState | None = None,
) -> tuple[list[Recognition], MemoryState]:
    """Return the result of each waveform, and the memory after it.

    A waveform too short for one frame of the encoder, about 0.1 s, has no words.

    Args:
        recognizer: in evaluation mode; computes on its device.
        waveforms: at the sampling rate of its features; at least one.
        settings: how to decode.
        state: memory after earlier segments of the same recordings; None: initial memory.
    """
    device = next(recognizer.model.parameters()).device
    samples = torch.tensor([len(waveform) for waveform in waveforms], device=device)
    features, lengths = recognizer.features(pad_sequence(list(waveforms), batch_first=True).to(device), samples)
    features = recognizer.normalizer(features, lengths)
    if recognizer.model.config.encoder.mask_conv:  # otherwise padding would change the result
        features = F.pad(features, (0, 0, 0, -features.shape[1] % _MULTIPLE))
    encoded = recognizer.model.encode(features, lengths, state)
    log_probs = None if recognizer.model.ctc is None else recognizer.model.ctc_log_probs(encoded.hidden)
    decoded = _decode(recognizer, encoded, log_probs, settings)
    timing = _Timing.of(recognizer)
    found = []
    for row, (tokens, score) in enumerate(decoded):
        count = int(encoded.lengths[row])
        timed = _even_words(recognizer.tokenizer, tokens, count * timing.frame_seconds, score)
        if log_probs is not None:
            timed = align_words(log_probs[row, :count], tokens, recognizer.tokenizer, timing.frame_seconds)
        words = tuple(timing.placed(word, len(waveforms[row])) for word in timed)
        if log_probs is not None:
            words = extend_words(words, waveforms[row], timing.sample_rate)
        uncertainty = None if log_probs is None else Uncertainty.of(log_probs[row, :count])
        found.append(Recognition(recognizer.tokenizer.decode(tokens), tuple(tokens), words, score, uncertainty))
    return found, encoded.state


def _decode(
    recognizer: Recognizer,
    encoded: Encoded,
    log_probs: Float[Tensor, "batch frame vocab"] | None,
    settings: TranscriptionSettings,
) -> list[tuple[list[int], float]]:
    """Return tokens and score of each row."""
    check_decoding(recognizer.model, settings.decoding)
    if settings.decoding == "ctc":
        assert log_probs is not None  # checked above
        best = log_probs.amax(-1).masked_fill(encoded.padding, 0).sum(1)
        return list(zip(greedy_ctc(log_probs, encoded.lengths), best.tolist(), strict=True))
    decoder, sos_eos = recognizer.model.decoder, recognizer.tokenizer.sos_eos_id
    assert decoder is not None  # likewise
    search = settings.search
    if settings.decoding == "attention":
        search = replace(search, ctc_weight=0.0)
    elif settings.decoding == "rescoring":
        search = replace(search, ctc_weight=1.0, num_best=search.beam)
    texts = beam_search(decoder, encoded.hidden, encoded.padding, log_probs, search, sos_eos=sos_eos)
    if settings.decoding == "rescoring":
        weight = settings.search.ctc_weight
        texts = attention_rescore(decoder, encoded.hidden, encoded.padding, texts, weight, sos_eos=sos_eos)
    return [(best[0].tokens, best[0].score) if best else ([], -math.inf) for best in texts]


@dataclass(frozen=True)
class _Timing:
    """Times of encoder frames in a waveform."""

    frame_seconds: float
    shift: float
    sample_rate: int

    @classmethod
    def of(cls, recognizer: Recognizer) -> "_Timing":
        config: FeatureConfig = recognizer.features.config
        is_causal = recognizer.model.encoder.subsampling.is_causal
        # Alignment puts frame i at i to i + 1; shift it to the middle of the samples that the frame covers.
        middle = FIELD // 2 - (CONTEXT if is_causal else 0) - STRIDE / 2
        shift = middle * config.frame_seconds + (config.span / 2 - config.lead) / config.sample_rate
        return cls(STRIDE * config.frame_seconds, shift, config.sample_rate)

    def placed(self, word: Word, samples: int) -> Word:
        """Return a word with its frame times converted to times in a waveform of ``samples``."""
        start, end = (min(max(time + self.shift, 0.0), samples / self.sample_rate) for time in (word.start, word.end))
        return replace(word, start=start, end=end)


def _even_words(tokenizer: Tokenizer, tokens: list[int], seconds: float, score: float) -> list[Word]:
    """Return words evenly spaced in time: without CTC their times are unknown."""
    step = seconds / max(len(tokens), 1)
    confidence = math.exp(min(score / (len(tokens) + 1), 0.0))  # mean per token, end symbol included
    return [
        Word(tokenizer.decode(tokens[first:last]), first * step, last * step, confidence)
        for first, last in tokenizer.word_spans(tokens)
    ]
