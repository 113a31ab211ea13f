import pytest
import torch
from torch.testing import assert_close

from mnemic_core import ExponentialMemory, WindowMemory


def test_a_step_reads_before_it_writes() -> None:
    memory, x = WindowMemory(4, capacity=2), torch.randn(1, 3, 4)
    output, state = memory(x, memory.init_state(1))
    assert not output.any()
    assert_close(memory(x, state)[0], memory.read(x, state))


def test_a_reset_in_a_step_comes_first() -> None:
    memory = WindowMemory(4, capacity=2)
    used = memory.write(memory.init_state(2), torch.randn(2, 3, 4))
    output, state = memory(torch.randn(2, 1, 4), used, reset=torch.tensor([True, False]))
    assert output.flatten(1).any(1).tolist() == [False, True]
    assert state.count.tolist() == [1, 2]


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        ExponentialMemory(0)


def test_an_unknown_gradient_policy_is_refused() -> None:
    # A TypeError where the tests check types, a ValueError where nobody does.
    with pytest.raises((ValueError, TypeError), match="segment"):
        ExponentialMemory(4, detach="segment")
