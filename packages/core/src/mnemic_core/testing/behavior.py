"""Rules 1-4, 7 and 9 of the memory contract: results do not depend on other streams, rows or padding."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnemic_core.memory import ReadWriteMemory, SegmentMemory
from mnemic_core.state import MemoryState
from mnemic_core.testing.comparison import assert_close

BATCH, LENGTH = 3, 4
TOLERANCE = 1e-5
GARBAGE = 1e4  # content of padding: large enough to notice, and finite, since attention may multiply it by 0


def random_segments(module: SegmentMemory[Any], number: int, *, seed: int = 0) -> list[Tensor]:
    """Return segments ``[batch time dim]`` of normal noise, the same in every call."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, LENGTH, module.dim, generator=generator) for _ in range(number)]


def compare_states(actual: MemoryState, expected: MemoryState, what: str, *, tolerance: float = TOLERANCE) -> None:
    """Raise ``AssertionError`` if two states of one class differ."""
    for name, tensor in expected.tensors().items():
        assert_close(actual.tensors()[name], tensor, tolerance=tolerance, name=f"{what}: state {name}")


@torch.no_grad()
def check_streaming_equality(module: SegmentMemory[Any]) -> None:
    """Rule 1: the state holds everything that is carried, so that streams may alternate.

    A copy runs a sequence alone, the module with segments of another stream in between. If writes compose, writing the
    sequence at once must give the same state as well.
    """
    segments, foreign = random_segments(module, 3), random_segments(module, 3, seed=1)
    reference = copy.deepcopy(module)
    expected_state, state, foreign_state = (module.init_state(BATCH) for _ in range(3))
    for segment, other in zip(segments, foreign, strict=True):
        expected, expected_state = reference(segment, expected_state)
        _, foreign_state = module(other, foreign_state)
        output, state = module(segment, state)
        assert_close(output, expected, tolerance=TOLERANCE, name="rule 1, alternating streams differ: output")
    compare_states(state, expected_state, "rule 1, alternating streams differ")
    if isinstance(module, ReadWriteMemory) and module.writes_compose:
        at_once = module.write(module.init_state(BATCH), torch.cat(segments, dim=1))
        compare_states(at_once, state, "rule 1, writing all at once differs from writing segments")


@torch.no_grad()
def check_reset_equality(module: SegmentMemory[Any]) -> None:
    """Rule 2: rows that are reset equal new rows exactly, and the others are unchanged."""
    first, second = random_segments(module, 2)
    _, used = module(first, module.init_state(BATCH))
    rows = torch.arange(BATCH) == 1
    outputs, state = module(second, used, reset=rows)
    fresh_outputs, fresh_state = module(second, module.init_state(BATCH))
    kept_outputs, kept_state = module(second, used)
    for chosen, wanted, wanted_state, what in (
        (rows, fresh_outputs, fresh_state, "a reset row differs from a fresh one"),
        (~rows, kept_outputs, kept_state, "a row changed by the reset of another"),
    ):
        assert_close(outputs[chosen], wanted[chosen], tolerance=0.0, name=f"rule 2, {what}: output")
        compare_states(state.index_select(chosen), wanted_state.index_select(chosen), f"rule 2, {what}", tolerance=0.0)


@torch.no_grad()
def check_batch_independence(module: SegmentMemory[Any]) -> None:
    """Rule 3: permuted rows give permuted results, and no row depends on another."""
    order = torch.arange(BATCH).roll(1)
    segments = random_segments(module, 2)
    state = permuted = module.init_state(BATCH)
    changed = module.init_state(BATCH)
    for segment in segments:
        output, state = module(segment, state)
        permuted_output, permuted = module(segment[order], permuted)
        other = segment.clone()
        other[0] = -3 * segment[0] + 1
        changed_output, changed = module(other, changed)
        assert_close(permuted_output, output[order], tolerance=TOLERANCE, name="rule 3, permuted rows: output")
        assert_close(changed_output[1:], output[1:], tolerance=TOLERANCE, name="rule 3, rows depend on row 0: output")
    compare_states(permuted, state.index_select(order), "rule 3, permuted rows")
    others = torch.arange(1, BATCH)
    compare_states(changed.index_select(others), state.index_select(others), "rule 3, rows depend on row 0")


@torch.no_grad()
def check_padding_neutrality(module: SegmentMemory[Any]) -> None:
    """Rule 4: padding after the tokens changes neither outputs nor state, whatever its content."""
    state = padded_state = module.init_state(BATCH)
    for segment in random_segments(module, 2):
        padded = torch.cat([segment, torch.full_like(segment[:, :3], GARBAGE)], dim=1)
        padding = (torch.arange(padded.shape[1]) >= LENGTH).expand(BATCH, -1)
        output, state = module(segment, state)
        padded_output, padded_state = module(padded, padded_state, padding=padding)
        assert_close(padded_output[:, :LENGTH], output, tolerance=TOLERANCE, name="rule 4, padded tail: output")
    compare_states(padded_state, state, "rule 4, padded tail")


@torch.no_grad()
def check_round_trip(module: SegmentMemory[Any]) -> None:
    """Rule 7: saving and loading a state, or moving it to another type or device and back, changes nothing."""
    first, second = random_segments(module, 2)
    _, state = module(first, module.init_state(BATCH))
    expected, expected_state = module(second, state)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        state.save(path)
        types = {tensor.dtype for tensor in state.tensors().values() if tensor.is_floating_point()}
        in_double = state.to(dtype=torch.float64)
        back = in_double.to(dtype=types.pop() if types else None)
        travelled = {"saved and loaded": type(state).load(path), "in float64 and back": back}
    if torch.cuda.is_available():
        travelled["on the GPU and back"] = state.to("cuda").to("cpu")
    for how, returned in travelled.items():
        output, after = module(second, returned)
        assert_close(output, expected, tolerance=0.0, name=f"rule 7, {how}: output")
        compare_states(after, expected_state, f"rule 7, {how}", tolerance=0.0)


def check_determinism(module: SegmentMemory[Any]) -> None:
    """Rule 9: the same seed gives the same result, bit for bit."""
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        state = module.init_state(BATCH)
        for segment in random_segments(module, 2):
            output, state = module(segment, state)
        results.append((output, state))
    (output, state), (again, state_again) = results
    assert_close(again, output, tolerance=0.0, name="rule 9, a second run differs: output")
    compare_states(state_again, state, "rule 9, a second run differs", tolerance=0.0)
