"""Replay over many segments, with dropout, gives the gradients of back-propagation through all of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mnemic_core import TransformerConfig, build_transformer
from mnemic_core.memory import SegmentMemory
from mnemic_core.training import replay_backward

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
SEGMENTS, DIM, TOLERANCE = 32, 8, 1e-12
MEMORIES = {
    "memory_tokens": {"num_tokens": 2},
    "hierarchical": {"num_bank": 4, "num_sensory": 2},
    "slot_attention": {"num_slots": 3, "num_heads": 2},
    "gated_fifo": {"num_heads": 2, "capacity": 3, "chunk_length": 2},
    "transformer_xl": {"capacity": 8, "num_heads": 2, "detach": "never"},
    "surprise": {"chunk_length": 4},
}


def target_loss(output: Tensor, index: int) -> Tensor:
    target = torch.cos(torch.arange(output.numel(), dtype=output.dtype) + index).view_as(output)
    return (output - target).square().mean()


def back_propagate(model: SegmentMemory, segments: Tensor) -> None:
    state, losses = model.init_state(segments.shape[1], dtype=segments.dtype), []
    for index, x in enumerate(segments):
        output, state = model(x, state)
        losses.append(target_loss(output, index))
    torch.stack(losses).sum().backward()


def replay(model: SegmentMemory, segments: Tensor) -> None:
    start = model.init_state(segments.shape[1], dtype=segments.dtype)
    replay_backward(model, list(segments), start, target_loss)


def largest_difference(model: SegmentMemory, segments: Tensor, seed: int) -> float:
    """Return how much the gradients of both ways differ, as a share of the largest of them."""
    found = []
    for way in (back_propagate, replay):
        model.zero_grad()
        torch.manual_seed(seed)  # the same dropout
        way(model, segments)
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    plain, replayed = found
    assert plain.keys() == replayed.keys()
    difference = max(float((plain[name] - replayed[name]).abs().max()) for name in plain)
    return difference / max(float(gradient.abs().max()) for gradient in plain.values())


@pytest.mark.parametrize("memory", MEMORIES)
def test_replay_of_many_segments_has_the_gradients_of_back_propagation(memory: str, record: Callable) -> None:
    differences = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        config = TransformerConfig(DIM, 2, 2, 2 * DIM, memory, MEMORIES[memory], dropout=0.2)
        model, segments = build_transformer(config).double(), torch.randn(SEGMENTS, 2, 4, DIM, dtype=torch.float64)
        differences.append(largest_difference(model, segments, seed))
    equal = [float(difference < TOLERANCE) for difference in differences]
    record(
        f"replay_{memory}",
        what=f"gradients of {SEGMENTS} segments with dropout equal those of back-propagation",
        task="gradients",
        model=memory,
        sizes={"dim": DIM, "layers": 2, "segments": SEGMENTS, "dropout": 0.2},
        steps=0,
        seeds=list(SEEDS),
        accuracy=equal,
        solved=equal.count(1.0),
        control={},
        largest_difference=max(differences),
    )
    assert max(differences) < TOLERANCE
