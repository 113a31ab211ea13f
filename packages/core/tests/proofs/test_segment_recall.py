"""Every memory carries over segments what the same transformer without memory can only guess."""

from collections.abc import Callable

import pytest
import torch

from mnemic_core import TransformerConfig
from mnemic_core.tasks import AssociativeRecall, CopyTask, SegmentBatch

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
SEGMENTS, STEPS, ROWS, LR = 3, 2000, 32, 3e-3
SOLVED = 0.99

# Gradients cross all segments, so that writing is learned. The one sensory token of the hierarchical memory is a
# blank of the segment between: what it recalls comes out of its bank.
MEMORIES = {
    "memory_tokens": {"num_tokens": 4, "initial_std": 1.0},
    "slot_attention": {"num_slots": 8, "num_heads": 2},
    "hierarchical": {"num_bank": 4, "num_sensory": 1, "initial_std": 1.0},
    "transformer_xl": {"capacity": 16, "num_heads": 2, "detach": "never"},
    "gated_fifo": {"num_heads": 2, "capacity": 8, "chunk_length": 2},
    "surprise": {"chunk_length": 4},
}
TASKS = {"copy": CopyTask(symbols=8), "associative_recall": AssociativeRecall(keys=4, values=4)}


def sample(task: str, rows: int) -> SegmentBatch:
    """Return strings over three segments; to learn recall from, half of the batches have two.

    From three alone, memory tokens and the hierarchical memory remain at a guess for long: they would have to learn at
    once what to bind and how to carry it. The papers of both begin with fewer segments, too.
    """
    if task == "copy":
        return TASKS[task].sample(rows, 4, segments=SEGMENTS)
    segments = SEGMENTS if rows > ROWS else int(torch.randint(2, SEGMENTS + 1, ()))
    return TASKS[task].sample(rows, 2, segments=segments)


def learn(task: str, memory: str, options: dict, steps: int, learn_recall: Callable) -> list[dict[str, float]]:
    """Return the result of each seed of a transformer with the memory."""
    config = TransformerConfig(32, 2, 2, 64, memory, options)
    return [
        learn_recall(config, TASKS[task], lambda rows: sample(task, rows), seed=seed, steps=steps, lr=LR, rows=ROWS)
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def guesses(learn_recall: Callable) -> dict[str, list[float]]:
    """Accuracies of the same transformer without memory by task; how long it learns changes nothing."""
    return {task: [run["accuracy"] for run in learn(task, "none", {}, 500, learn_recall)] for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_task_is_solved_with_memory_only(
    task: str, memory: str, learn_recall: Callable, record: Callable, guesses: dict[str, list[float]]
) -> None:
    runs = learn(task, memory, MEMORIES[memory], STEPS, learn_recall)
    accuracy, chance = [run["accuracy"] for run in runs], 1 / TASKS[task].output_size
    solved = sum(value >= SOLVED for value in accuracy)
    record(
        f"{task}_{memory}",
        what=f"{task.replace('_', ' ')} over {SEGMENTS} segments",
        task=task,
        model=memory,
        sizes={"dim": 32, "layers": 2, "segments": SEGMENTS, "options": MEMORIES[memory]},
        steps=[run["steps"] for run in runs],
        seeds=list(SEEDS),
        accuracy=accuracy,
        solved=solved,
        control={"no memory": guesses[task], "guess": chance},
    )
    assert solved >= 2, accuracy
    assert max(guesses[task]) < chance + 0.06, guesses
