"""Rules 8 and 10 of the memory contract: a memory can be compiled, exported and distributed."""

import io
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch import _dynamo as dynamo
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from mnemic_core.memory import SegmentMemory
from mnemic_core.state import MemoryState
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_core.testing.behavior import BATCH, LENGTH, compare_states, random_segments
from mnemic_core.testing.comparison import assert_close
from mnemic_core.testing.gradients import LayerBefore
from mnemic_core.training import replay_backward

TRACED_LENGTH = 2


@torch.no_grad()
def check_compiles(module: SegmentMemory[Any], *, backend: str = "eager") -> None:
    """Rule 8: one graph without breaks computes every step as in eager execution.

    The backend ``"eager"`` traces and guards but generates no code, ``"inductor"`` does.
    """
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    state = compiled_state = _owned_start(module)
    padding, reset = _masks()
    for index, segment in enumerate(_short_segments(module, 4)):
        # A first call compiles; from then on a recompilation is an error.
        with unchecked_annotations(), dynamo.config.patch(error_on_recompile=index > 0):
            output, compiled_state = compiled(segment, compiled_state, padding=padding, reset=reset)
        expected, state = module(segment, state, padding=padding, reset=reset)
        assert_close(output[~padding], expected[~padding], name=f"rule 8, compiled step {index}: output")
        compare_states(compiled_state, state, f"rule 8, compiled step {index}")


@torch.no_grad()
def check_exports(module: SegmentMemory[Any]) -> None:
    """Rule 8: ``torch.export`` works with the state as explicit input and output, also through a file."""
    padding, reset = _masks()
    masks = {"padding": padding, "reset": reset}
    first, second = _short_segments(module, 2)
    state = exported_state = _owned_start(module)
    file = io.BytesIO()
    with unchecked_annotations():
        torch.export.save(torch.export.export(module, (first, state), masks), file)
    file.seek(0)
    program = torch.export.load(file).module()
    for segment in (first, second):
        expected, state = module(segment, state, **masks)
        output, exported_state = program(segment, exported_state, **masks)
        assert_close(output[~padding], expected[~padding], name="rule 8, exported: output")
    compare_states(exported_state, state, "rule 8, exported")


def check_state_outside(module: SegmentMemory[Any]) -> None:
    """Rule 10: the module stores nothing of a stream, and every parameter gets a gradient in every pass."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    (segment,) = random_segments(module, 1)
    output, state = module(segment, module.init_state(BATCH))
    for name, tensor in state.tensors().items():
        assert not isinstance(tensor, nn.Parameter), f"rule 10, state {name} is a parameter"
    after = module.state_dict()
    assert before.keys() == after.keys(), f"rule 10, a step changed the module's tensors to {sorted(after)}"
    for name, tensor in before.items():
        assert_close(after[name], tensor, tolerance=0.0, name=f"rule 10, a step wrote into the module: {name}")
    results = [output, *state.tensors().values()]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if learning:
        reached = [result.sum() for result in results if result.requires_grad]
        assert reached, (
            "rule 10, no parameter takes part in a forward pass: what is learned must act on reading too, "
            "or the memory offers detach='never' alone"
        )
        total = torch.stack(reached).sum()
        gradients = torch.autograd.grad(total, learning, allow_unused=True)
        unused = [gradient is None for gradient in gradients].count(True)
        assert not unused, f"rule 10, {unused} parameters take no part in a forward pass"


def check_distributed(build: Callable[[], SegmentMemory[Any]]) -> None:
    """Rule 10: two processes with half of the rows each get the gradients of one process with all of them.

    They replay a rollout of two segments, whose gradients must be synchronized once. ``build`` must be picklable.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(_learn, (build, folder), nprocs=2)
        ranks: list[dict[str, Tensor]] = [torch.load(Path(folder) / f"rank{rank}.pt") for rank in range(2)]
    expected = _two_segments(_wrapped(build), slice(None))
    for name, tensor in expected.items():
        of_rows = name.startswith("state ")
        found = [torch.cat([rank[name] for rank in ranks])] if of_rows else [rank[name] for rank in ranks]
        for actual in found:
            assert_close(actual, tensor, name=f"rule 10, two processes differ from one: {name}")


def _wrapped(build: Callable[[], SegmentMemory[Any]]) -> LayerBefore:
    torch.manual_seed(0)  # equal weights in every process
    return LayerBefore(build())  # data parallelism refuses a module without parameters


def _learn(rank: int, build: Callable[[], SegmentMemory[Any]], folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(minutes=2))
    try:
        rows = slice(0, 2) if rank == 0 else slice(2, 4)
        result = _two_segments(DistributedDataParallel(_wrapped(build)), rows)
        torch.save(result, Path(folder) / f"rank{rank}.pt")
    finally:
        distributed.destroy_process_group()


def _two_segments(model: nn.Module, rows: slice) -> dict[str, Tensor]:
    """Return the gradients of a rollout over the given rows of four, and the last state of those rows."""
    wrapped = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(wrapped, LayerBefore)
    x = torch.randn(4, 2 * LENGTH, wrapped.dim, generator=torch.Generator().manual_seed(0))[rows]
    start: MemoryState = wrapped.module.init_state(len(x))
    _, state, _ = replay_backward(model, torch.split(x, LENGTH, dim=1), start, lambda y, _: y.square().mean())
    gradients = {f"gradient {name}": p.grad for name, p in wrapped.named_parameters() if p.grad is not None}
    return gradients | {f"state {name}": tensor for name, tensor in state.tensors().items()}


def _owned_start(module: SegmentMemory[Any]) -> MemoryState:
    """Return an initial state with its own storage: a graph for views of parameters would not fit later states."""
    start: MemoryState = module.init_state(BATCH).clone()
    return start


def _short_segments(module: SegmentMemory[Any], number: int) -> list[Tensor]:
    """Return the shortest segments with a loop: the graph of a machine grows with every token."""
    return [segment[:, :TRACED_LENGTH] for segment in random_segments(module, number)]


def _masks() -> tuple[Tensor, Tensor]:
    """Return padding at the end of the first row, and a reset of the second."""
    padding = torch.zeros(BATCH, TRACED_LENGTH, dtype=torch.bool)
    padding[0, -1:] = True
    return padding, torch.arange(BATCH) == 1
