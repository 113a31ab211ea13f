"""A long memory in one layer does what one in every layer does, unless it is the first (arXiv:2007.03356)."""

from collections.abc import Callable

import pytest
import torch

from mnemic_core import TransformerConfig
from mnemic_core.tasks import AssociativeRecall, SegmentBatch

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
# Pairs lie 20 tokens back. Four layers of 4 tokens reach 16, however well they hand on what they saw.
SEGMENTS, SHORT, LONG, STEPS, ROWS = 6, 4, 20, 200, 32
LENGTHS = {
    "every layer": (LONG,) * 4,
    "third layer": (SHORT, SHORT, LONG, SHORT),
    "last layer": (SHORT, SHORT, SHORT, LONG),
    "first layer": (LONG, SHORT, SHORT, SHORT),
    "no layer": (SHORT,) * 4,
}
TASK = AssociativeRecall(keys=4, values=4)


def sample(rows: int) -> SegmentBatch:
    """Return pairs to learn from over two to six segments; all rows asked: six."""
    segments = SEGMENTS if rows > ROWS else int(torch.randint(2, SEGMENTS + 1, ()))
    return TASK.sample(rows, 2, segments=segments)


def test_a_long_memory_in_one_late_layer_is_as_good_as_in_every_layer(learn_recall: Callable, record: Callable) -> None:
    def learn(lengths: tuple[int, ...], seed: int) -> float:
        options = {"memory_lengths": lengths, "num_heads": 2, "ffn_dim": 64, "pre_norm": True, "detach": "never"}
        config = TransformerConfig(32, 4, 2, 64, "transformer_xl_stack", options)
        return learn_recall(config, TASK, sample, seed=seed, steps=STEPS, lr=3e-3, rows=ROWS, stops_early=False)[
            "accuracy"
        ]

    accuracy = {place: [learn(lengths, seed) for seed in SEEDS] for place, lengths in LENGTHS.items()}
    solved = sum(value >= 0.99 for value in accuracy["third layer"])
    record(
        "memory_placement",
        what=f"recall from {(SEGMENTS - 1) * SHORT} tokens back, long memory in the third of four layers alone",
        task="associative_recall",
        model="transformer_xl_stack",
        sizes={"dim": 32, "lengths": LENGTHS},
        steps=STEPS,
        seeds=list(SEEDS),
        accuracy=accuracy["third layer"],
        solved=solved,
        control={f"long in {place}": values for place, values in accuracy.items() if place != "third layer"},
    )
    assert solved >= 2, accuracy
    assert min(accuracy["third layer"]) > min(accuracy["every layer"]) - 0.01, accuracy
    assert max(accuracy["no layer"]) < 0.31, accuracy  # a guess is right once in four times
