import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.machines import TapeCell, convert_official_tape
from mnemic_core.machines.tape_machine import update_tapes
from mnemic_core.testing import CONTRACT

DIM, SIZE = 4, 5
FOLDER = Path(__file__).parent.parent / "golden"
CASES = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith("Tape-RNN")]


def build(**options: object) -> TapeCell:
    torch.manual_seed(0)
    return TapeCell(DIM, **{"cell_dim": 2, "size": SIZE, "num_tapes": 2, "mlp": (3,)} | options)


# The entry of the catalogue is put under the same rules in `test_contract`.
@pytest.mark.parametrize("rule", CONTRACT.values(), ids=CONTRACT.keys())
def test_machine_around_an_lstm_keeps_rule(rule: Callable[[TapeCell], None]) -> None:
    rule(build(inner="lstm"))


@pytest.mark.golden
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_steps_equal_the_official_code(case: GoldenCase) -> None:
    sizes = case.config
    machine = TapeCell(
        sizes["input"],
        hidden_dim=sizes["hidden"],
        cell_dim=sizes["memory_cell_size"],
        size=sizes["memory_size"],
        num_tapes=sizes["n_tapes"],
        mlp=sizes["mlp_layers"],
        inner="lstm" if any("/lstm/" in name for name in case.state) else "rnn",
    )
    machine.load_state_dict(convert_official_tape(case.state))
    state = machine.init_state(sizes["batch"], input_length=case.inputs["input_length"].expand(sizes["batch"]))
    for time, token in enumerate(case.inputs["x"]):
        output, state = machine.step(token, state)
        case.assert_output(f"y.{time}", output)
        case.assert_output(f"tape.{time}", state.tapes)


def test_there_are_golden_cases() -> None:
    assert CASES or "MNEMIC_GOLDEN_DIR" in os.environ


def test_update_equals_a_mixture_of_rolled_tapes() -> None:
    torch.manual_seed(0)
    tapes, values, actions = torch.randn(3, 2, SIZE, 1), torch.randn(3, 2, 1), torch.rand(3, 2, 5)
    lengths = [2, 4, 13]  # also longer than the tape
    updated = update_tapes(tapes, values, actions, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        for tape in range(2):
            cells = tapes[row, tape, :, 0].clone()
            cells[0] = values[row, tape, 0]
            rolled = [cells.roll(shift) for shift in (0, -1, 1, -length, length)]
            expected = sum(share * moved for share, moved in zip(actions[row, tape], rolled, strict=True))
            assert_close(updated[row, tape, :, 0], expected)


def test_a_jump_to_the_right_and_back_returns_to_the_cell() -> None:
    jump_left, jump_right = torch.eye(5)[3][None, None], torch.eye(5)[4][None, None]
    tapes, length = torch.zeros(1, 1, 9, 1), torch.tensor([4])
    tapes = update_tapes(tapes, torch.tensor([[[1.0]]]), jump_right, length)
    assert tapes[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    tapes = update_tapes(tapes, torch.tensor([[[2.0]]]), jump_left, length)
    assert tapes[0, 0, 0, 0] == 1


def test_a_segment_equals_its_tokens_stepped() -> None:
    machine, x = build(), torch.randn(2, 6, DIM)
    lengths = torch.tensor([2, 3])
    outputs, state = machine(x, machine.init_state(2, input_length=lengths))
    stepped = machine.init_state(2, input_length=lengths)
    for time in range(6):
        output, stepped = machine.step(x[:, time], stepped)
        assert_close(outputs[:, time], output)
    for name, tensor in stepped.tensors().items():
        assert_close(state.tensors()[name], tensor)


def test_rows_of_different_input_length_equal_rows_alone() -> None:
    machine, x = build(), torch.randn(2, 6, DIM)
    together, _ = machine(x, machine.init_state(2, input_length=torch.tensor([2, 3])))
    for row, length in enumerate((2, 3)):
        alone, _ = machine(x[row : row + 1], machine.init_state(1, input_length=length))
        assert_close(together[row : row + 1], alone)


def test_a_reset_keeps_size_and_input_length() -> None:
    machine, x = build(), torch.randn(2, 3, DIM)
    start = machine.init_state(2, input_length=3, size=2 * SIZE)
    _, used = machine(x, start)
    state = machine.reset(used, torch.tensor([True, False]))
    assert state.input_length.tolist() == [3, 3]
    assert torch.equal(state.tapes[0], start.tapes[0])
    assert torch.equal(state.tapes[1], used.tapes[1])


def test_nan_stays_in_its_row_and_padding_outside() -> None:
    machine, x = build(), torch.randn(2, 3, DIM)
    x[0] = torch.nan
    outputs, state = machine(x, machine.init_state(2))
    assert outputs[1].isfinite().all()
    assert all(tensor[1].isfinite().all() for tensor in state.tensors().values())
    padding = torch.tensor([[True], [False]]).expand(2, 3)
    _, state = machine(x, machine.init_state(2), padding=padding)
    assert state.tapes.isfinite().all()


def test_nothing_to_do_leaves_the_state() -> None:
    machine = build()
    _, state = machine(torch.randn(2, 3, DIM), machine.init_state(2))
    outputs, same = machine(torch.zeros(2, 0, DIM), state)
    assert outputs.shape == (2, 0, DIM)
    assert torch.equal(same.tapes, state.tapes)


def test_half_precision_tokens_leave_the_tape_in_full() -> None:
    machine = build().to(torch.bfloat16)
    outputs, state = machine(torch.randn(1, 2, DIM, dtype=torch.bfloat16), machine.init_state(1))
    assert outputs.dtype == torch.bfloat16
    assert state.tapes.dtype == state.recurrent.hidden.dtype == torch.float32


def test_report_counts_cells_that_hold_something() -> None:
    machine = build()
    assert machine.report(machine.init_state(1)).written == 0
    _, state = machine(torch.randn(1, 4, DIM), machine.init_state(1))
    report = machine.report(state)
    assert (report.share_used, report.age_max) == (1.0, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"num_tapes": 0}, "num_tapes must be at least 1, got 0"),
        ({"mlp": (4, 0)}, r"mlp\[1\] must be at least 1, got 0; use RecurrentMachine"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tape_input_length_jump_core/mlp/~/linear_0/w": None}, "has a layer mlp/~/linear_0"),
        ({"tape_input_length_jump_core/odd/w": torch.zeros(1)}, r"has no weights \['odd/w'\]"),
        ({"other_core/linear/w": torch.zeros(1)}, "weights of tape_input_length_jump_core only"),
    ],
)
def test_wrong_official_weights_are_named(change: dict[str, Tensor | None], message: str) -> None:
    shapes = {
        "linear": (1, 5),
        "mlp/~/linear_0": (1, 1),
        "~/vanilla_rnn/linear": (2, 1),
        "~/vanilla_rnn/linear_1": (1, 1),
    }
    weights = {f"tape_input_length_jump_core/{name}/w": torch.zeros(shape) for name, shape in shapes.items()}
    weights |= {f"tape_input_length_jump_core/{name}/b": torch.zeros(shape[1]) for name, shape in shapes.items()}
    weights = {name: weight for name, weight in (weights | change).items() if weight is not None}
    with pytest.raises(ValueError, match=message):
        convert_official_tape(weights)
