"""Loss of a training step over consecutive segments, with one graph or with memory replay."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_core.training import replay_backward, run_segments
from mnemic_lm.model import LanguageModel, total_nats
from mnemic_lm.streams import SegmentBatch


def unroll(model: LanguageModel, batch: SegmentBatch, state: MemoryState) -> tuple[Float[Tensor, ""], MemoryState]:
    """Return the mean loss per token with the graph of all segments, and the last state."""
    segments = list(model.embed(batch.inputs))
    hidden, state = run_segments(model.transformer, segments, state, paddings=list(batch.padding), reset=batch.reset)
    pieces = zip(hidden, batch.targets, batch.padding, strict=True)
    nats = torch.stack([total_nats(model.head(piece), targets, padding) for piece, targets, padding in pieces])
    return nats.sum() / _num_targets(batch), state


def replay(model: LanguageModel, batch: SegmentBatch, state: MemoryState) -> tuple[Float[Tensor, ""], MemoryState]:
    """Accumulate gradients one segment at a time; return loss and last state without graph."""
    count = _num_targets(batch)

    def step(index: int, before: MemoryState) -> tuple[Float[Tensor, "batch time token"], MemoryState]:
        logits, after = model(batch.inputs[index], before, padding=batch.padding[index], reset=batch.reset[index])
        return logits, after

    def loss(logits: Float[Tensor, "batch time token"], index: int) -> Float[Tensor, ""]:
        # Divided here, so that the sum over segments is the mean over tokens.
        return total_nats(logits, batch.targets[index], batch.padding[index]) / count

    losses, state, _ = replay_backward(step, range(len(batch)), state, loss)
    return torch.stack(losses).sum(), state


def _num_targets(batch: SegmentBatch) -> Int[Tensor, ""]:
    return (~batch.padding).sum().clamp(min=1)  # the last step can be all padding
