"""Word times by forced alignment of tokens with CTC output."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import forced_align, merge_tokens

from mnemic_core.errors import UserError
from mnemic_speech.text import Tokenizer
from mnemic_speech.transcript import Word


def align_words(
    log_probs: Float[Tensor, "frame vocab"],
    tokens: Sequence[int],
    tokenizer: Tokenizer,
    frame_seconds: float,
    offset: float = 0.0,
) -> list[Word]:
    """Return the words of recognized tokens with their times and confidences.

    The most probable CTC path through the tokens gives the frames of each; a word spans from the first frame of its
    first token to the last frame of its last. CTC emits a token in few frames, often one, near the end of its sound,
    so that words appear shorter than they are.

    Tokens from an attention decoder can be too many for the frames; they then divide the time evenly with
    confidence 0.

    Args:
        log_probs: log-probabilities of CTC for one utterance.
        tokens: the recognized tokens, without blanks and end symbol.
        tokenizer: of the tokens.
        frame_seconds: duration of a frame.
        offset: start of the utterance in its recording, seconds.

    Raises:
        UserError: if a token is blank or outside the vocabulary.
    """
    wrong = sorted({token for token in tokens if token == tokenizer.blank_id or not 0 <= token < log_probs.shape[1]})
    if wrong:
        raise UserError(f"tokens to align are 1 to {log_probs.shape[1] - 1} without the blank, got {wrong}")
    if not tokens:
        return []
    spans = _token_spans(log_probs.detach().float(), tokens, tokenizer.blank_id)
    return [
        Word(
            text=tokenizer.decode(tokens[first:last]),
            start=offset + spans[first].start * frame_seconds,
            end=offset + spans[last - 1].end * frame_seconds,
            confidence=sum(span.probability for span in spans[first:last]) / (last - first),
        )
        for first, last in tokenizer.word_spans(tokens)
    ]


class _Span(NamedTuple):
    """The frames of a token, end exclusive, and its mean probability in them."""

    start: float
    end: float
    probability: float


def _token_spans(log_probs: Float[Tensor, "frame vocab"], tokens: Sequence[int], blank: int) -> list[_Span]:
    # CTC needs a blank between two equal tokens.
    needed = len(tokens) + sum(token == following for token, following in pairwise(tokens))
    if needed > len(log_probs):
        step = len(log_probs) / len(tokens)
        return [_Span(index * step, (index + 1) * step, 0.0) for index in range(len(tokens))]
    targets = torch.tensor([list(tokens)], device=log_probs.device)
    paths, scores = forced_align(log_probs[None], targets, blank=blank)
    spans = merge_tokens(paths[0], scores[0].exp(), blank)
    return [_Span(span.start, span.end, span.score) for span in spans]
