import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core import WindowMemory

DIM = 4


def test_reading_is_attention_over_the_latest_values() -> None:
    memory = WindowMemory(DIM, capacity=3)
    values, query = torch.randn(2, 5, DIM), torch.randn(2, 2, DIM)
    state = memory.write(memory.init_state(2), values)
    latest = values[:, -3:]
    assert_close(memory.read(query, state), F.scaled_dot_product_attention(query, latest, latest))


def test_slots_not_yet_written_are_not_read() -> None:
    memory, values = WindowMemory(DIM, capacity=8), torch.randn(1, 2, DIM)
    state = memory.write(memory.init_state(1), values)
    query = torch.randn(1, 3, DIM)
    assert_close(memory.read(query, state), F.scaled_dot_product_attention(query, values, values))


def test_an_empty_window_recalls_zeros() -> None:
    memory = WindowMemory(DIM)
    query = torch.randn(1, 3, DIM, requires_grad=True)
    recalled = memory.read(query, memory.init_state(1))
    recalled.sum().backward()
    assert not recalled.any()
    assert not query.grad.any()


def test_an_empty_row_next_to_a_used_one_stays_empty() -> None:
    memory = WindowMemory(DIM, capacity=2)
    padding = torch.tensor([[True, True], [False, False]])
    state = memory.write(memory.init_state(2), torch.full((2, 2, DIM), torch.nan).nan_to_num(5.0), padding=padding)
    assert memory.read(torch.ones(2, 1, DIM), state)[:, 0, 0].tolist() == [0, 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_recalled_values_have_the_type_of_the_query(dtype: torch.dtype) -> None:
    memory = WindowMemory(DIM)
    state = memory.write(memory.init_state(1), torch.randn(1, 2, DIM))
    assert memory.read(torch.randn(1, 1, DIM, dtype=dtype), state).dtype == dtype


def test_a_window_holds_something() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0; use NoMemory"):
        WindowMemory(DIM, capacity=0)
