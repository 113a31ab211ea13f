import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import SegmentMemory, TokenMachine
from mnemic_core.machines import RecurrentMachine, StackCell, StackState, convert_official_stack
from mnemic_core.machines.recurrent import RecurrentCell
from mnemic_core.machines.stack_machine import update_stacks
from mnemic_core.testing import CONTRACT, POLICY_RULES, unchecked_annotations

DIM, SIZE = 4, 5
FOLDER = Path(__file__).parent.parent / "golden"
CASES = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith("Stack-RNN")]

MACHINES = {
    "rnn": partial(RecurrentMachine, DIM),
    "lstm": partial(RecurrentMachine, DIM, inner="lstm"),
    "stack-rnn": partial(StackCell, DIM, cell_dim=2, size=SIZE, num_stacks=2),
    "stack-lstm": partial(StackCell, DIM, cell_dim=2, size=SIZE, inner="lstm", joint_actions=True),
}


def step_by_hand(stack: list[float], value: float, actions: list[float]) -> list[float]:
    """The equations of the paper for one stack of numbers."""
    push, pop, keep = actions
    below = [*stack[1:], 0.0]
    above = [value, *stack[:-1]]
    return [push * a + pop * b + keep * s for a, b, s in zip(above, below, stack, strict=True)]


@pytest.fixture
def machine() -> StackCell:
    torch.manual_seed(0)
    return StackCell(DIM, cell_dim=2, size=SIZE, num_stacks=2)


# The machines around an RNN are entries of the catalogue, which `test_contract` puts under the same rules.
@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
@pytest.mark.parametrize("name", ["lstm", "stack-lstm"])
def test_machine_around_an_lstm_keeps_rule(name: str, detach: str, rule: str) -> None:
    torch.manual_seed(0)
    CONTRACT[rule](MACHINES[name](detach=detach))


@pytest.mark.golden
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_steps_equal_the_official_code(case: GoldenCase) -> None:
    sizes = case.config
    machine = StackCell(
        sizes["input"],
        hidden_dim=sizes["hidden"],
        cell_dim=sizes["stack_cell_size"],
        size=sizes["stack_size"],
        num_stacks=sizes["n_stacks"],
        joint_actions=True,
        inner="lstm" if "LSTM" in sizes["inner"] else "rnn",
    )
    machine.load_state_dict(convert_official_stack(case.state))
    state = machine.init_state(sizes["batch"])
    for time, token in enumerate(case.inputs["x"]):
        output, state = machine.step(token, state)
        case.assert_output(f"y.{time}", output)
        case.assert_output(f"stacks.{time}", state.stacks)
    if "final_cell" in case.outputs:
        case.assert_output("final_cell", state.recurrent.cell)


def test_there_are_golden_cases() -> None:
    assert CASES or "MNEMIC_GOLDEN_DIR" in os.environ


def test_update_follows_the_equations() -> None:
    torch.manual_seed(0)
    stacks, values, actions = torch.randn(2, 3, SIZE, 1), torch.randn(2, 3, 1), torch.rand(2, 3, 3)
    updated = update_stacks(stacks, values, actions)
    for row in range(2):
        for stack in range(3):
            place = (row, stack)
            expected = step_by_hand(stacks[place].flatten().tolist(), float(values[place]), actions[place].tolist())
            assert_close(updated[place].flatten(), torch.tensor(expected))


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES.keys())
def test_a_segment_equals_its_tokens_stepped(build: Callable[[], StackCell]) -> None:
    torch.manual_seed(0)
    machine, x = build(), torch.randn(2, 6, DIM)
    outputs, state = machine(x, machine.init_state(2))
    stepped = machine.init_state(2)
    for time in range(6):
        output, stepped = machine.step(x[:, time], stepped)
        assert_close(outputs[:, time], output)
    for name, tensor in stepped.tensors().items():
        assert_close(state.tensors()[name], tensor)


def test_a_cell_alone_equals_the_rnn_and_the_lstm_of_pytorch() -> None:
    x = torch.randn(2, 6, DIM)
    for name, reference in (("rnn", nn.RNN(DIM, 5, nonlinearity="relu")), ("lstm", nn.LSTM(DIM, 5))):
        machine = RecurrentMachine(DIM, hidden_dim=5, inner=name)
        for ours, theirs in (
            ("inputs.weight", "weight_ih_l0"),
            ("recurrent.weight", "weight_hh_l0"),
            ("inputs.bias", "bias_ih_l0"),
        ):
            gates = machine.cell.get_parameter(ours).detach().chunk(4 if name == "lstm" else 1)
            order = (0, 2, 1, 3) if name == "lstm" else (0,)  # theirs are i, f, g, o
            reference.get_parameter(theirs).data = torch.cat([gates[index] for index in order])
        nn.init.zeros_(reference.bias_hh_l0)
        expected, _ = reference(x.transpose(0, 1))
        outputs, _ = machine(x, machine.init_state(2))
        assert_close(outputs, expected.transpose(0, 1))


def test_weights_start_as_those_of_the_official_matrices() -> None:
    torch.manual_seed(0)
    cut = 0.8796  # what cutting a normal distribution at two deviations leaves of its deviation
    rnn = RecurrentCell(300, 400, 100, "rnn")
    for weight in (rnn.inputs.weight, rnn.recurrent.weight[:, :100], rnn.recurrent.weight[:, 100:]):
        assert_close(weight.std() / cut, torch.tensor(400**-0.5), rtol=0.02, atol=0)
    lstm = RecurrentCell(3, 90, 7, "lstm")
    for weight in (lstm.inputs.weight, lstm.recurrent.weight):
        assert_close(weight.std() / cut, torch.tensor(0.1), rtol=0.05, atol=0)
    assert lstm.inputs.bias.tolist() == [0] * 180 + [1] * 90 + [0] * 90
    assert StackCell(DIM).control.bias.count_nonzero() == 0


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES.keys())
def test_machines_offer_segments_and_tokens(build: Callable[[], StackCell]) -> None:
    machine = build()
    assert isinstance(machine, TokenMachine)
    assert isinstance(machine, SegmentMemory)


def test_padding_anywhere_has_no_effect(machine: StackCell) -> None:
    x = torch.randn(2, 3, DIM)
    padded = torch.cat([x[:, :1], torch.full((2, 2, DIM), torch.nan), x[:, 1:]], dim=1).requires_grad_()
    padding = torch.tensor([False, True, True, False, False]).expand(2, -1)
    expected, _ = machine(x, machine.init_state(2))
    outputs, state = machine(padded, machine.init_state(2), padding=padding)
    assert_close(outputs[~padding], expected.flatten(0, 1))
    assert state.tokens.tolist() == [3, 3]
    (gradient,) = torch.autograd.grad(outputs[~padding].sum(), padded)
    assert gradient.isfinite().all()


def test_shares_of_every_stack_sum_to_one_unless_they_are_joint(machine: StackCell) -> None:
    # A stack full of ones, beside which only ones are pushed, stays as it is where the shares sum to one.
    nn.init.constant_(machine.control.bias[: 2 * 2], 1.0)
    nn.init.zeros_(machine.control.weight[: 2 * 2])
    start = machine.init_state(1)
    full = StackState(torch.ones_like(start.stacks), start.recurrent, start.tokens)
    _, state = machine.step(torch.randn(1, DIM), full)
    assert_close(state.stacks[:, :, :-1], full.stacks[:, :, :-1])  # the lowest cell lost what was popped into it
    machine.joint_actions = True
    _, state = machine.step(torch.randn(1, DIM), full)
    assert (state.stacks[:, :, 0].sum(1) < 1.01).all()


def test_pushed_values_are_popped_in_reverse() -> None:
    stacks = torch.zeros(1, 1, 4, 1)
    push, pop = torch.tensor([[[1.0, 0, 0]]]), torch.tensor([[[0, 1.0, 0]]])
    for value in (1.0, 2.0, 3.0):
        stacks = update_stacks(stacks, torch.full((1, 1, 1), value), push)
    tops = []
    for _ in range(4):
        tops.append(float(stacks[0, 0, 0, 0]))
        stacks = update_stacks(stacks, torch.full((1, 1, 1), 9.0), pop)
    assert tops == [3.0, 2.0, 1.0, 0.0]


def test_a_larger_stack_changes_nothing_until_the_smaller_one_is_full(machine: StackCell) -> None:
    x = torch.randn(1, SIZE, DIM)
    small, state = machine(x, machine.init_state(1))
    large, larger_state = machine(x, machine.init_state(1, size=2 * SIZE))
    assert_close(small, large)
    assert_close(larger_state.stacks[:, :, :SIZE], state.stacks)


def test_resized_stacks_keep_their_top(machine: StackCell) -> None:
    _, state = machine(torch.randn(1, SIZE, DIM), machine.init_state(1))
    grown = state.resize(2 * SIZE)
    assert grown.size == 2 * SIZE
    assert torch.equal(grown.resize(SIZE).stacks, state.stacks)
    assert torch.equal(grown.resize(2).stacks, state.stacks[:, :, :2])
    assert machine.reset(grown, torch.tensor([True])).stacks.count_nonzero() == 0


def test_report_counts_the_cells_that_tokens_could_reach(machine: StackCell) -> None:
    _, state = machine(torch.randn(1, 3, DIM), machine.init_state(1))
    report = machine.report(state)
    assert (report.written, report.capacity, report.age_max) == (2 * 3, 2 * SIZE, 2)


def test_report_of_a_cell_alone_shows_its_hidden_state() -> None:
    machine = RecurrentMachine(DIM, inner="lstm")
    assert machine.report(machine.init_state(2)).written == 0
    _, state = machine(torch.randn(2, 3, DIM), machine.init_state(2))
    assert machine.report(state).written == 2


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES.keys())
def test_nan_stays_in_its_row(build: Callable[[], StackCell]) -> None:
    machine, x = build(), torch.randn(2, 3, DIM)
    x[0, 1] = torch.nan
    outputs, state = machine(x, machine.init_state(2))
    assert outputs[1].isfinite().all()
    assert all(tensor[1].isfinite().all() for tensor in state.tensors().values())


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES.keys())
def test_nothing_to_do_leaves_the_state(build: Callable[[], StackCell]) -> None:
    machine = build()
    _, state = machine(torch.randn(2, 3, DIM), machine.init_state(2))
    outputs, same = machine(torch.zeros(2, 0, DIM), state)
    _, padded = machine(torch.randn(2, 3, DIM), state, padding=torch.ones(2, 3, dtype=torch.bool))
    assert outputs.shape == (2, 0, DIM)
    for name, tensor in state.tensors().items():
        assert torch.equal(same.tensors()[name], tensor)
        assert torch.equal(padded.tensors()[name], tensor)


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES.keys())
def test_half_precision_tokens_leave_the_memory_in_full(build: Callable[[], StackCell]) -> None:
    machine = build().to(torch.bfloat16)
    outputs, state = machine(torch.randn(1, 2, DIM, dtype=torch.bfloat16), machine.init_state(1))
    assert outputs.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in state.tensors().values()} <= {torch.float32, torch.long}


def test_stored_cuts_between_segments_and_not_inside() -> None:
    machine, x = StackCell(DIM, detach="stored"), torch.randn(1, 2, DIM, requires_grad=True)
    outputs, state = machine(x, machine.init_state(1))
    (gradient,) = torch.autograd.grad(outputs[:, 1].sum(), x)
    assert gradient[:, 0].abs().sum() > 0
    assert not state.stacks.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"num_stacks": 0}, "num_stacks must be at least 1, got 0; use RecurrentMachine"),
        ({"hidden_dim": 0}, "hidden_dim must be at least 1"),
        ({"inner": "gru"}, "inner must be one of rnn, lstm, got 'gru'"),
        ({"detach": "segment"}, "detach must be one of"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        StackCell(DIM, **options)


def test_a_segment_that_does_not_fit_is_refused(machine: StackCell) -> None:
    with pytest.raises(ValueError, match=r"width 4 in 3 rows, got width 4 in 2 rows; build the state with init_state"):
        machine(torch.zeros(2, 1, DIM), machine.init_state(3))
    with pytest.raises(TypeError, match="StackCell works with a StackState, got a RecurrentState; make one with init"):
        machine(torch.zeros(3, 1, DIM), machine.init_state(3).recurrent)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        machine.init_state(1).resize(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [("linear/b", "missing"), ("~/vanilla_rnn/linear/w", "vanilla_rnn or an lstm")],
)
def test_missing_official_weights_are_named(name: str, message: str) -> None:
    weights = official_weights()
    del weights[f"stack_rnn_core/{name}"]
    with pytest.raises(ValueError, match=message):
        convert_official_stack(weights)


@pytest.mark.parametrize(
    ("name", "message"), [("linear/w", "of stack_rnn_core only"), ("stack_rnn_core/x/w", "has no")]
)
def test_foreign_official_weights_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_official_stack(official_weights() | {name: torch.zeros(1)})


def official_weights() -> dict[str, Tensor]:
    """Weights of the smallest core: token, hidden state and cell of width 1."""
    shapes = {"linear": (1, 1), "linear_1": (1, 3), "~/vanilla_rnn/linear": (2, 1), "~/vanilla_rnn/linear_1": (1, 1)}
    weights = {f"stack_rnn_core/{name}/w": torch.zeros(shape) for name, shape in shapes.items()}
    return weights | {f"stack_rnn_core/{name}/b": torch.zeros(shape[1]) for name, shape in shapes.items()}
