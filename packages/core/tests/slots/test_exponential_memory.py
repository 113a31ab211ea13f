import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import ExponentialMemory, ExponentialState

DIM = 3


def one_by_one(memory: ExponentialMemory, state: ExponentialState, values: Tensor, padding: Tensor) -> Tensor:
    """The definition, value by value and row by row."""
    rows = []
    for row in range(len(values)):
        long, is_empty = state.long[row], bool(state.count[row] == 0)
        for value, ignored in zip(values[row], padding[row], strict=True):
            if ignored:
                continue
            long = value if is_empty else (1 - memory.decay) * long + memory.decay * value
            is_empty = False
        rows.append(long)
    return torch.stack(rows)


@settings(deadline=None, max_examples=40)
@given(
    time=st.integers(0, 6),
    before=st.integers(0, 2),
    decay=st.sampled_from([0.01, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_writing_a_segment_equals_writing_value_by_value(time: int, before: int, decay: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    memory = ExponentialMemory(DIM, decay=decay)
    state = memory.write(memory.init_state(4), torch.randn(4, before, DIM, generator=generator))
    values = torch.randn(4, time, DIM, generator=generator)
    padding = torch.rand(4, time, generator=generator) > 0.5
    written = memory.write(state, values.masked_fill(padding[..., None], torch.nan), padding=padding)
    assert_close(written.long, one_by_one(memory, state, values, padding), atol=1e-5, rtol=1e-5)
    assert_close(written.count, state.count + (~padding).sum(1))


def test_ten_thousand_values_at_once_are_exact() -> None:
    memory, values = ExponentialMemory(1, decay=0.01), torch.randn(1, 10_000, 1, dtype=torch.float64)
    whole = memory.write(memory.init_state(1, dtype=torch.float64), values)
    expected = values[0, 0]
    for value in values[0, 1:]:
        expected = 0.99 * expected + 0.01 * value
    assert_close(whole.long[0], expected)


def test_half_of_the_past_is_left_after_the_half_life() -> None:
    memory = ExponentialMemory(1, decay=0.01)
    state = memory.write(memory.init_state(1), torch.ones(1, 1, 1))
    writes = round(-math.log(2) / math.log(1 - memory.decay))
    assert writes == 69
    assert_close(memory.write(state, torch.zeros(1, writes, 1)).long, torch.tensor([[0.5]]), atol=2e-3, rtol=0)


def test_rows_that_write_nothing_stay_bit_identical() -> None:
    memory = ExponentialMemory(DIM, decay=0.3)
    state = memory.write(memory.init_state(2), torch.randn(2, 4, DIM))
    padding = torch.tensor([[True], [False]])
    after = memory.write(state, torch.randn(2, 1, DIM), padding=padding)
    assert torch.equal(after.long[0], state.long[0])
    assert not torch.equal(after.long[1], state.long[1])


def test_every_query_of_a_row_recalls_the_same() -> None:
    memory = ExponentialMemory(DIM)
    state = memory.write(memory.init_state(2), torch.randn(2, 4, DIM))
    recalled = memory.read(torch.randn(2, 5, DIM), state)
    assert torch.equal(recalled, state.long[:, None].expand(2, 5, DIM))


def test_a_half_precision_query_leaves_the_memory_in_single_precision() -> None:
    memory = ExponentialMemory(DIM)
    state = memory.write(memory.init_state(1), torch.randn(1, 4, DIM, dtype=torch.bfloat16))
    assert state.long.dtype == torch.float32
    assert memory.read(torch.randn(1, 1, DIM, dtype=torch.bfloat16), state).dtype == torch.bfloat16


def test_stored_values_carry_no_graph() -> None:
    values = torch.randn(1, 2, DIM, requires_grad=True)
    for detach, carries in (("stored", False), ("never", True)):
        memory = ExponentialMemory(DIM, detach=detach)
        assert memory.write(memory.init_state(1), values).long.requires_grad is carries


@pytest.mark.parametrize("decay", [0.0, 1.5, math.nan])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        ExponentialMemory(DIM, decay=decay)
