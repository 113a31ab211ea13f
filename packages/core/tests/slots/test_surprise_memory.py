from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core import SegmentMemory
from mnemic_core.slots.surprise_memory import SurpriseMemory, SurpriseState
from mnemic_core.testing import CONTRACT, POLICY_RULES

DIM = 4


def small(**options: Any) -> SurpriseMemory:
    torch.manual_seed(0)
    memory = SurpriseMemory(DIM, **{"chunk_length": 3, **options})
    with torch.no_grad():
        memory.initial[-1].normal_(std=0.5)  # learned, as after training
        memory.gates.bias.zero_()  # and far from the ends of the sigmoid
    return memory


def bare(**options: Any) -> SurpriseMemory:
    """Return a memory whose output is what its network recalls."""
    memory = SurpriseMemory(DIM, **options)
    memory.norm, memory.output = nn.Identity(), nn.Identity()
    return memory


def set_gates(memory: SurpriseMemory, step: float, momentum: float, forgetting: float) -> None:
    with torch.no_grad():
        memory.gates.weight.zero_()
        memory.gates.bias.copy_(torch.tensor([step, momentum, forgetting]))


def network(weights: Tensor, x: Tensor) -> Tensor:
    for layer, weight in enumerate(weights):
        x = weight @ (F.silu(x) if layer else x)
    return x


def token_by_token(memory: SurpriseMemory, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The definition for one row: automatic gradients of the recall error at the weights that began the chunk."""
    anchor, momentum, outputs = weights, torch.zeros_like(weights), []
    rest = torch.cat([weights[:-1], torch.zeros_like(weights[-1:])])
    for index, token in enumerate(x):
        query, key, value = (memory.query_key_value.weight @ token).chunk(3)
        step, carry, forget = memory.gates(token).sigmoid()
        leaf = anchor.detach().requires_grad_()
        error = network(leaf, key / key.norm()) - value
        (gradient,) = torch.autograd.grad(error.square().sum() / 2, leaf)
        gradient = gradient * (error.square().sum() / gradient.square().sum()).clamp(max=1).detach()
        momentum = carry * momentum - step * (1 - carry) / memory.chunk_length * gradient
        weights = (1 - forget) * weights + forget * rest + momentum
        outputs.append(memory.output(memory.norm(network(weights, query / query.norm()))))
        if (index + 1) % memory.chunk_length == 0:
            anchor = weights
    return torch.stack(outputs), weights


def stepped(memory: SurpriseMemory, x: Tensor, state: SurpriseState) -> tuple[Tensor, SurpriseState]:
    outputs = [x[:, :0]]
    for token in x.unbind(1):
        output, state = memory.step(token, state)
        outputs.append(output[:, None])
    return torch.cat(outputs, dim=1), state


def assert_same_state(actual: SurpriseState, expected: SurpriseState) -> None:
    for name, tensor in expected.tensors().items():
        assert_close(
            actual.tensors()[name], tensor, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
@pytest.mark.parametrize("depth", [1, 2])
def test_keeps_rule(depth: int, detach: str, rule: str) -> None:
    CONTRACT[rule](small(depth=depth, detach=detach))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("chunk_length", [1, 3, 16])
def test_a_segment_equals_the_definition_token_by_token(depth: int, chunk_length: int) -> None:
    memory, x = small(depth=depth, chunk_length=chunk_length).double(), torch.randn(2, 8, DIM, dtype=torch.float64)
    outputs, state = memory(x, memory.init_state(2, dtype=torch.float64))
    for row in range(2):
        expected, weights = token_by_token(memory, x[row], memory.initial)
        assert_close(outputs[row], expected)
        assert_close(state.weights[row], weights)


@settings(deadline=None, max_examples=25)
@given(cut=st.integers(0, 9), chunk_length=st.sampled_from([1, 2, 5]), seed=st.integers(0, 1000))
def test_any_cut_into_segments_with_padding_anywhere_equals_stepping(cut: int, chunk_length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    memory = small(depth=2, chunk_length=chunk_length)
    x, padding = torch.randn(1, 9, DIM, generator=generator), torch.rand(1, 9, generator=generator) > 0.6
    state = memory.init_state(1)
    dirty, outputs = x.masked_fill(padding[..., None], torch.nan), []
    for part in (slice(0, cut), slice(cut, 9)):
        output, state = memory(dirty[:, part], state, padding=padding[:, part])
        outputs.append(output)
    expected, expected_state = stepped(memory, x[:, ~padding[0]], memory.init_state(1))
    assert_close(torch.cat(outputs, dim=1)[~padding], expected[0], atol=1e-5, rtol=1e-4)
    assert_same_state(state, expected_state)


@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_of_a_segment_equal_those_of_stepping(depth: int) -> None:
    memory, x = small(depth=depth).double(), torch.randn(2, 7, DIM, dtype=torch.float64, requires_grad=True)
    start = memory.init_state(2, dtype=torch.float64)
    leaves = [x, *memory.parameters()]
    found, wanted = (
        torch.autograd.grad(run(x, start)[0].square().sum(), leaves, retain_graph=True)
        for run in (memory, lambda x, state: stepped(memory, x, state))
    )
    for actual, expected in zip(found, wanted, strict=True):
        assert_close(actual, expected)


def test_rows_at_different_places_of_a_chunk_do_not_disturb_each_other() -> None:
    memory, x = small(), torch.randn(2, 4, DIM)
    _, state = memory(x, memory.init_state(2), padding=torch.tensor([[False] * 4, [False, True, True, True]]))
    outputs, _ = memory(x, state)
    for row in range(2):
        alone, _ = memory(x[row : row + 1], state.index_select(torch.tensor([row])))
        assert_close(outputs[row], alone[0])


def test_one_full_step_corrects_a_recall_exactly() -> None:
    memory, x = bare(chunk_length=1), torch.randn(2, 1, DIM)
    set_gates(memory, 40, -40, -40)
    with torch.no_grad():
        memory.query_key_value.weight[:DIM] = memory.query_key_value.weight[DIM : 2 * DIM]  # ask what was taught
    recalled, _ = memory(x, memory.init_state(2))
    value = memory.query_key_value(x)[..., 2 * DIM :]
    assert_close(recalled, value)


def test_predicted_values_cause_no_update() -> None:
    memory, x = SurpriseMemory(DIM, chunk_length=1), torch.randn(2, 1, DIM)
    set_gates(memory, 40, -40, -40)
    _, once = memory(x, memory.init_state(2))
    _, twice = memory(x, once)
    assert_close(twice.weights, once.weights)
    _, other = memory(torch.randn(2, 1, DIM), once)
    assert not torch.allclose(other.weights, once.weights, atol=1e-2)


def test_an_open_forgetting_gate_leaves_only_the_momentum() -> None:
    memory, x = small(), torch.randn(1, 5, DIM)
    set_gates(memory, 0, 0, 40)
    _, state = memory(x, memory.init_state(1))
    assert_close(state.weights, state.momentum)


@pytest.mark.parametrize("momentum", [-40, 0, 2, 5])
def test_a_linear_memory_does_not_diverge_on_equal_tokens(momentum: float) -> None:
    memory = SurpriseMemory(DIM, chunk_length=8)
    set_gates(memory, 40, momentum, -40)
    x = torch.randn(1, 1, DIM).expand(1, 2000, DIM)
    value = memory.query_key_value(x)[0, 0, 2 * DIM :]
    _, state = memory(x, memory.init_state(1))
    assert state.weights.norm() <= 2 * value.norm()


@pytest.mark.parametrize("depth", [2, 4])
@torch.no_grad()
def test_a_deep_memory_learns_equal_tokens_and_does_not_diverge(depth: int) -> None:
    torch.manual_seed(0)
    memory = bare(depth=depth)
    set_gates(memory, 40, 0, -40)
    memory.query_key_value.weight[:DIM] = memory.query_key_value.weight[DIM : 2 * DIM]  # ask what was taught
    x = torch.randn(1, 1, DIM).expand(1, 4000, DIM)
    recalled, _ = memory(x, memory.init_state(1))
    assert_close(recalled[:, -1], memory.query_key_value(x)[:, -1, 2 * DIM :], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("depth", [2, 4])
@torch.no_grad()
def test_a_deep_memory_that_forgot_everything_can_still_learn(depth: int) -> None:
    torch.manual_seed(0)
    memory, x = SurpriseMemory(DIM, depth=depth), torch.randn(1, 400, DIM)
    set_gates(memory, -40, -40, 40)  # forget, and learn nothing
    _, empty = memory(x, memory.init_state(1))
    set_gates(memory, 2, 0, -6)
    output, _ = memory(x, empty)
    assert output[:, -1].norm() > 0.1


def test_an_initial_memory_recalls_nothing() -> None:
    memory = bare(depth=2)
    set_gates(memory, -200, 0, 0)
    recalled, _ = memory(torch.randn(2, 3, DIM), memory.init_state(2))
    assert not recalled.any()


def test_an_empty_segment_and_one_of_padding_leave_the_state_as_it_is() -> None:
    memory, x = small(), torch.randn(2, 4, DIM)
    _, state = memory(x, memory.init_state(2))
    output, same = memory(x[:, :0], state)
    assert output.shape == (2, 0, DIM)
    _, after = memory(x, state, padding=torch.ones(2, 4, dtype=torch.bool))
    for name, tensor in state.tensors().items():
        assert torch.equal(same.tensors()[name], tensor)
        assert torch.equal(after.tensors()[name], tensor)


def test_missing_values_stay_in_their_row() -> None:
    memory, x = small(), torch.randn(2, 4, DIM)
    expected, _ = memory(x, memory.init_state(2))
    x[1, 1] = torch.nan
    outputs, state = memory(x, memory.init_state(2))
    assert_close(outputs[0], expected[0])
    assert state.weights[0].isfinite().all()
    assert outputs[1, 1:].isnan().all()


def test_the_memory_keeps_single_precision_in_a_half_precision_model() -> None:
    memory, x = small(depth=2).bfloat16(), torch.randn(1, 5, DIM, dtype=torch.bfloat16)
    output, state = memory(x, memory.init_state(1))
    assert output.dtype == torch.bfloat16
    assert state.weights.dtype == state.momentum.dtype == torch.float32
    memory = small(depth=2)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = memory(x.float(), memory.init_state(1))
    assert state.weights.dtype == state.momentum.dtype == torch.float32


def test_stored_networks_carry_no_graph() -> None:
    x = torch.randn(1, 4, DIM)
    for detach, carries in (("stored", False), ("never", True)):
        memory = small(detach=detach)
        for output, state in (memory(x, memory.init_state(1)), memory.step(x[:, 0], memory.init_state(1))):
            assert output.requires_grad
            assert state.weights.requires_grad is carries


@pytest.mark.parametrize("detach", ["never", "stored"])
def test_every_parameter_takes_part_in_the_middle_of_a_stream(detach: Any) -> None:
    memory, x = small(detach=detach), torch.randn(1, 4, DIM)
    state = memory(x, memory.init_state(1))[1].detach()
    for output in (memory(x, state)[0], memory.step(x[:, 0], state)[0]):
        gradients = torch.autograd.grad(output.square().sum(), list(memory.parameters()), allow_unused=True)
        assert all(gradient is not None for gradient in gradients)


def test_the_report_shows_the_columns_of_the_last_layer() -> None:
    memory = small()
    fresh = memory.init_state(2)
    assert memory.report(fresh).written == 0
    _, state = memory(torch.randn(2, 5, DIM), fresh)
    report = memory.report(state)
    assert (report.written, report.age_max) == (2 * DIM, 4)
    assert report.bytes_per_row == 12 * DIM**2 + 8


def test_the_memory_takes_segments_and_tokens() -> None:
    assert isinstance(small(), SegmentMemory)
    assert callable(small().step)


@pytest.mark.parametrize("options", [{"depth": 0}, {"chunk_length": 0}], ids=str)
def test_an_impossible_size_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least 1, got 0"):
        SurpriseMemory(DIM, **options)
