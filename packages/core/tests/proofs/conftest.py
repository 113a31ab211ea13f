"""What the proofs share: a trainer of ten lines, the models around a memory, and the file that a result goes to."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from mnemic_core import TransformerConfig, build_transformer
from mnemic_core.memory import SegmentMemory
from mnemic_core.state import MemoryState
from mnemic_core.tasks import (
    AlgorithmicTask,
    AssociativeRecall,
    CopyTask,
    SegmentBatch,
    TaskModel,
    task_accuracy,
    task_loss,
)
from mnemic_core.training import run_segments

Record = Callable[..., None]


@pytest.fixture(autouse=True, scope="module")
def unchecked_shapes() -> Iterator[None]:
    """Proofs call the same few shapes a million times; checking each would take most of the time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def record() -> Record:
    """Write a result, with its CPU seconds, as a file of its own into ``MNEMIC_PROOFS_DIR``, if that is set."""
    start = time.process_time()  # of the processor, not of the clock: other programs then do not count

    def write(name: str, **facts: Any) -> None:
        if not (folder := os.environ.get("MNEMIC_PROOFS_DIR")):
            return
        facts |= {"seconds": round(time.process_time() - start, 1), "torch": torch.__version__}
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps({"name": name, **facts}, indent=1) + "\n")

    return write


def optimize(
    model: nn.Module,
    batch_loss: Callable[[int], Tensor],
    *,
    steps: int,
    lr: float,
    final_share: float = 0.02,
    clip: float = 1.0,
    is_solved: Callable[[], bool] = lambda: False,
) -> int:
    """Run Adam with a linearly falling rate, ask every 100 steps whether to stop, and return the steps taken."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, final_share, total_iters=steps)
    for step in range(steps):
        optimizer.zero_grad()
        batch_loss(step).backward()
        clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        if step % 100 == 99 and is_solved():
            return step + 1
    return steps


@pytest.fixture
def train() -> Callable[..., int]:
    """Return the trainer."""
    return optimize


class SegmentReader(nn.Module):
    """A memory over embedded tokens, segment by segment; the last segment's outputs are read as symbols.

    Places in the segment are embedded too: rotary positions alone do not tell apart the tokens of a segment in which
    all are the same, such as those that ask for a copy.
    """

    def __init__(self, config: TransformerConfig, task: CopyTask | AssociativeRecall) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.input_size, config.dim)
        self.place = nn.Embedding(16, config.dim)
        self.memory = build_transformer(config)
        self.head = nn.Linear(config.dim, task.output_size)

    def forward(self, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
        """Return logits and targets of the outputs that count."""
        segments = self.embedding(batch.tokens) + self.place.weight[: batch.tokens.shape[2]]
        outputs, _ = run_segments(self.memory, list(segments), self.memory.init_state(batch.tokens.shape[1]))
        return self.head(outputs[-1])[batch.valid[-1]], batch.targets[-1][batch.valid[-1]]


Sample = Callable[[int], SegmentBatch]


@pytest.fixture(scope="module")
def learn_recall() -> Callable[..., dict[str, float]]:
    """Train a model on fresh strings until it is right about all of a large batch, or the steps are used up."""

    def learn(
        config: TransformerConfig,
        task: CopyTask | AssociativeRecall,
        sample: Sample,
        *,
        seed: int,
        steps: int,
        lr: float,
        rows: int,
        stops_early: bool = True,
    ) -> dict[str, float]:
        torch.manual_seed(seed)
        model = SegmentReader(config, task)
        accuracy = 0.0

        def loss(step: int) -> Tensor:
            return F.cross_entropy(*model(sample(rows)))

        @torch.no_grad()
        def is_solved() -> bool:
            nonlocal accuracy
            logits, targets = model(sample(512))
            accuracy = float((logits.argmax(-1) == targets).double().mean())
            return stops_early and accuracy > 0.998

        taken = optimize(model, loss, steps=steps, lr=lr, is_solved=is_solved)
        is_solved()  # on strings of its own: those that ended the training were chosen by the result
        return {"accuracy": accuracy, "steps": taken}

    return learn


class WholeTransformer(SegmentMemory[MemoryState]):
    """A causal transformer that sees the whole string at once, in the place of a machine."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__(dim, "never")
        self.out_dim = hidden_dim
        self.embedding = nn.Linear(dim, hidden_dim)
        self.model = build_transformer(TransformerConfig(hidden_dim, 2, 4, 2 * hidden_dim))

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryState:
        return self.model.init_state(batch, device=device, dtype=dtype)

    def _run_segment(self, x: Tensor, state: MemoryState, padding: Tensor | None) -> tuple[Tensor, MemoryState]:
        return self.model(self.embedding(x), state, padding=padding)


@pytest.fixture
def learn_strings() -> Callable[..., dict[int, float]]:
    """Train a machine on strings of random lengths; return its share of right outputs at each length of a test."""

    def learn(
        machine: Callable[[int], SegmentMemory[Any]],
        task: AlgorithmicTask,
        *,
        seed: int,
        steps: int,
        lr: float,
        max_length: int,
        test_lengths: Iterable[int],
        rows: int = 48,
    ) -> dict[int, float]:
        torch.manual_seed(seed)
        model = TaskModel(machine(task.input_size + 1), task)

        def loss(step: int) -> Tensor:
            batch = task.sample(rows, int(torch.randint(1, max_length + 1, ())))
            return task_loss(model(batch.inputs), batch)

        optimize(model, loss, steps=steps, lr=lr)
        return task_accuracy(model, task, test_lengths, batch=64)

    return learn


@pytest.fixture
def whole_transformer() -> type[WholeTransformer]:
    """Return the control that attends to everything."""
    return WholeTransformer
