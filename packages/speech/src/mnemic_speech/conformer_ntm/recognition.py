"""From waveforms to words: features, encoder, memory, decoding and the times of words, for a batch of segments."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from mnemic_core import MemoryState
from mnemic_core.errors import UserError
from mnemic_speech.alignment import align_words
from mnemic_speech.beam_search import BeamSearchConfig, attention_rescore, beam_search
from mnemic_speech.conformer_ntm.checkpoint import FORMAT, Recognizer
from mnemic_speech.conformer_ntm.model import ConformerNtm, Encoded
from mnemic_speech.ctc import greedy_ctc
from mnemic_speech.features import FeatureConfig
from mnemic_speech.subsampling import CONTEXT, FIELD, STRIDE
from mnemic_speech.text import TextStyle, Tokenizer
from mnemic_speech.transcript import Word

Decoding = Literal["ctc", "attention", "joint", "rescoring"]
"""Best CTC token of each frame; beam search with the decoder alone, with both; or CTC's best texts as the decoder
rates them."""

_MULTIPLE = 32  # of feature frames: with few different shapes a CPU is faster


@dataclass(frozen=True)
class TranscriptionSettings:
    """How a trained recogniser is to be run; a checkpoint may bring its own.

    Args:
        decoding: ``joint`` search of decoder and CTC as in the paper, the decoder alone (``attention``), the best
            ``ctc`` token of each frame (fastest), or ``rescoring`` the best texts of CTC with the decoder.
        search: beam and weights of the search; its ``ctc_weight`` is for ``joint`` and ``rescoring``.
        min_silence: seconds of silence that end a segment.
        max_seconds: longest segment; a longer stretch of speech without a pause is cut.
        margin: seconds of silence that stay at both ends of a segment.
        overlap: seconds before such a cut that the next segment hears again, so that no word is lost or doubled.
        carry_memory: let the memory go on from segment to segment of a recording. Off, each segment begins with a
            fresh one, as in the paper's training.
        text_style: how the texts of the training were normalised, and so how references are to be for scoring.

    Raises:
        UserError: if the decoding is not known or the overlap leaves no room for what is new.
    """

    decoding: Decoding = "joint"
    search: BeamSearchConfig = field(default_factory=BeamSearchConfig)
    min_silence: float = 0.3
    max_seconds: float = 20.0
    margin: float = 0.1
    overlap: float = 2.0
    carry_memory: bool = False
    text_style: TextStyle = "upper"

    def __post_init__(self) -> None:
        if self.decoding not in get_args(Decoding):
            raise UserError(f"decoding must be one of {', '.join(get_args(Decoding))}, got {self.decoding!r}")
        if not 0 < self.overlap <= self.max_seconds / 2:
            raise UserError(
                f"overlap must be above 0 and at most half of max_seconds, got {self.overlap} and {self.max_seconds}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as checkpoints store them."""
        return asdict(self)

    @classmethod
    def of(cls, recognizer: Recognizer) -> "TranscriptionSettings":
        """Return the settings that a checkpoint brings; where it names no decoding, one that its network can do.

        Raises:
            UserError: if it has settings that this version does not know.
        """
        given, model, source = recognizer.settings, recognizer.model, "the checkpoint"
        usual: Decoding = "ctc" if model.decoder is None else "attention" if model.ctc is None else "joint"
        search = FORMAT.restore(BeamSearchConfig, given.get("search", {}), source)
        return FORMAT.restore(cls, {"decoding": usual, **given, "search": search}, source)


@dataclass(frozen=True)
class Recognised:
    """What was heard in a waveform.

    Args:
        text: the words with single spaces.
        tokens: what the decoder wrote, without start and end.
        words: with times in seconds from the beginning of the waveform.
        score: log-probability, or the weighted sum of those that the decoding maximises.
    """

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    score: float


def check_decoding(model: ConformerNtm, decoding: Decoding) -> None:
    """Refuse a decoding for which a network has not the branch.

    Raises:
        UserError: naming the branch and what the network can do.
    """
    missing = [name for name in ("ctc", "decoder") if getattr(model, name) is None]
    wanted = {"ctc": {"ctc"}, "attention": {"decoder"}}.get(decoding, {"ctc", "decoder"})
    if lacking := wanted.intersection(missing):
        other = "ctc" if model.decoder is None else "attention"
        raise UserError(f"decoding {decoding!r} needs the branch {lacking.pop()}, which was not trained: use {other!r}")


# Not inference mode: its tensors could not be used in training afterwards, and bf16 on a CPU is much slower in it.
@torch.no_grad()
def recognise(
    recognizer: Recognizer,
    waveforms: Sequence[Float[Tensor, " _samples"]],
    settings: TranscriptionSettings,
    state: MemoryState | None = None,
) -> tuple[list[Recognised], MemoryState]:
    """Return what is said in each waveform, and the memory after it.

    A waveform that is too short for one frame of the encoder, about 0.1 s, has no words.

    Args:
        recognizer: in evaluation mode; its device is where everything is computed.
        waveforms: at the sampling rate of its features; at least one.
        settings: how to decode.
        state: what earlier segments of the same recordings left in the memory; None: a fresh memory for each.
    """
    device = next(recognizer.model.parameters()).device
    samples = torch.tensor([len(waveform) for waveform in waveforms], device=device)
    features, lengths = recognizer.features(pad_sequence(list(waveforms), batch_first=True).to(device), samples)
    features = recognizer.normalizer(features, lengths)
    if recognizer.model.config.encoder.mask_conv:  # otherwise the network would hear the padding
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
        found.append(Recognised(recognizer.tokenizer.decode(tokens), tuple(tokens), words, score))
    return found, encoded.state


def _decode(
    recognizer: Recognizer, encoded: Encoded, log_probs: Tensor | None, settings: TranscriptionSettings
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
    """Where the frames of an encoder are in a waveform."""

    frame_seconds: float
    shift: float
    sample_rate: int

    @classmethod
    def of(cls, recognizer: Recognizer) -> "_Timing":
        config: FeatureConfig = recognizer.features.config
        is_causal = recognizer.model.encoder.subsampling.is_causal
        # Alignment counts frame i from i to i + 1; what the frame covers has its middle elsewhere than at i + 1/2.
        middle = FIELD // 2 - (CONTEXT if is_causal else 0) - STRIDE / 2
        shift = middle * config.frame_seconds + (config.span / 2 - config.lead) / config.sample_rate
        return cls(STRIDE * config.frame_seconds, shift, config.sample_rate)

    def placed(self, word: Word, samples: int) -> Word:
        """Return a word whose frames were counted, with its times in a waveform of that many samples."""
        start, end = (min(max(time + self.shift, 0.0), samples / self.sample_rate) for time in (word.start, word.end))
        return replace(word, start=start, end=end)


def _even_words(tokenizer: Tokenizer, tokens: list[int], seconds: float, score: float) -> list[Word]:
    """Return words that share the time evenly: without CTC nothing tells when they were said."""
    step = seconds / max(len(tokens), 1)
    confidence = math.exp(min(score / (len(tokens) + 1), 0.0))  # of a token, the end being one
    return [
        Word(tokenizer.decode(tokens[first:last]), first * step, last * step, confidence)
        for first, last in tokenizer.word_spans(tokens)
    ]
