"""Bits per byte of a text, with its memory, with a memory that is reset, or with that of another text."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_lm.model import LanguageModel, total_nats
from mnemic_lm.streams import TextStreams
from mnemic_lm.text import Corpus


@dataclass(frozen=True)
class Tally:
    """Sum of the negative log-likelihoods of the tokens so far, in nats, and their number."""

    nats: float = 0.0
    tokens: int = 0

    def add(
        self,
        logits: Float[Tensor, "batch time token"],
        targets: Int[Tensor, "batch time"],
        padding: Bool[Tensor, "batch time"],
    ) -> "Tally":
        """Return the tally with one more segment of every stream."""
        nats = float(total_nats(logits, targets, padding))
        return replace(self, nats=self.nats + nats, tokens=self.tokens + int((~padding).sum()))

    @property
    def nats_per_token(self) -> float:
        """Mean negative log-likelihood per token; NaN without tokens."""
        return self.nats / self.tokens if self.tokens else math.nan

    def bits_per_byte(self, bytes_per_token: float) -> float:
        """Return the code length in bits per byte; exact if all of the text was scored."""
        return self.nats_per_token / math.log(2) / bytes_per_token


@torch.inference_mode()
def score(
    model: LanguageModel,
    corpus: Corpus,
    segment_length: int,
    *,
    batch_size: int = 8,
    context: int | None = None,
    is_shuffled: bool = False,
) -> float:
    """Return the bits per byte of a text.

    Args:
        model: the network.
        corpus: the text.
        segment_length: tokens that the network sees at once.
        batch_size: parallel streams, each with an empty memory at first.
        context: number of tokens after which the memory is reset; segments are no longer than it. None: it is carried
            to the end of the document.
        is_shuffled: every stream reads the memory of another one, but writes its own.

    Raises:
        UserError: if the context is not a multiple of the segment, or there is no other stream.
    """
    if is_shuffled and batch_size < 2:
        raise UserError(f"to exchange memories it takes at least 2 streams, got batch_size={batch_size}")
    if context is not None:
        segment_length = min(segment_length, context)
        if context < 1 or context % segment_length:
            raise UserError(f"a context must be a multiple of the segment of {segment_length} tokens, got {context}")
    device = model.embedding.weight.device
    state, tally = model.init_state(batch_size), Tally()
    streams = TextStreams(corpus, segment_length, batch_size)
    for step, batch in enumerate(streams):
        segment = batch.to(device)
        ids, padding, reset = segment.inputs[0], segment.padding[0], segment.reset[0]
        if context is not None and step % (context // segment_length) == 0:
            reset = torch.ones_like(reset)
        logits, after = model(ids, state, padding=padding, reset=reset)
        if is_shuffled:
            # A stream that is reset here has no memory to exchange.
            other = state.index_select(torch.arange(batch_size, device=device).roll(1))
            logits, _ = model(ids, other, padding=padding, reset=reset)
        tally, state = tally.add(logits, segment.targets[0], padding), after
    return tally.bits_per_byte(streams.bytes_per_token)
