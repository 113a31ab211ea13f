import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig, ResidualMemory
from mnemic_core.testing import CONTRACT

DIM = 4


def host(name: str = "window", **options: object) -> ResidualMemory:
    torch.manual_seed(0)
    return ResidualMemory(DIM, MemoryConfig(name), **options).eval()


@pytest.mark.parametrize("rule", CONTRACT)
def test_a_hosted_memory_keeps_the_rules_of_its_memory(rule: str) -> None:
    CONTRACT[rule](ResidualMemory(DIM, MemoryConfig("window", {"capacity": 3, "detach": "never"}), segment_length=2))


def test_recalled_values_are_projected_scaled_and_added() -> None:
    module, x = host(is_gated=True), torch.randn(2, 5, DIM)
    torch.nn.init.constant_(module.scale, 0.5)
    _, state = module(torch.randn(2, 3, DIM), module.init_state(2))
    recalled, after = module.memory(module.norm(x), state)
    output, found = module(x, state)
    assert_close(output, x + 0.5 * module.projection(recalled))
    assert_close(found.tensors(), after.tensors())


def test_pieces_of_whole_segments_give_what_one_call_gives() -> None:
    module, x = host(segment_length=3), torch.randn(2, 11, DIM)
    whole, after = module(x, module.init_state(2))
    first, state = module(x[:, :6], module.init_state(2))
    second, state = module(x[:, 6:], state)
    assert_close(torch.cat([first, second], 1), whole)
    assert_close(state.tensors(), after.tensors())


def test_a_gated_memory_has_no_effect_initially() -> None:
    module, x = host(is_gated=True), torch.randn(2, 5, DIM)
    assert torch.equal(module(x, module.init_state(2))[0], x)


def test_none_adds_nothing_and_has_no_weights() -> None:
    module, x = host("none"), torch.randn(2, 5, DIM)
    assert list(module.parameters()) == []
    assert torch.equal(module(x, module.init_state(2))[0], x)
