from typing import Any

import pytest
import torch
from torch.testing import assert_close

from mnemic_algorithms.machines import (
    AlgorithmConfig,
    AlgorithmModel,
    MachineConfig,
    SegmentedModel,
    build_machine,
)
from mnemic_algorithms.options import TRANSFORMER, machine_names
from mnemic_core import MemoryConfig, find_mechanism, list_mechanisms
from mnemic_core.tasks import CHOMSKY_TASKS, task_loss

SMALL = {"hidden_dim": 8, "stored": 4, "segment_length": 3, "num_layers": 2, "num_heads": 2}


def small(machine: str, options: dict[str, object] | None = None) -> MachineConfig:
    if machine == TRANSFORMER:
        return MachineConfig(MemoryConfig(), **{**SMALL, "segment_length": None})
    return MachineConfig(MemoryConfig(machine, options or {}), **SMALL)


@pytest.mark.parametrize("machine", machine_names())
def test_machine_learns_from_one_step_and_gives_every_parameter_a_gradient(machine: str) -> None:
    torch.manual_seed(0)
    model = AlgorithmModel(AlgorithmConfig(small(machine), "reverse_string"))
    batch = model.task.sample(5, 7)
    loss = task_loss(model(batch.inputs), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("task", CHOMSKY_TASKS)
def test_every_task_is_answered_at_any_length(task: str) -> None:
    model = AlgorithmModel(AlgorithmConfig(small("stack_rnn"), task))
    for length in (1, 6):
        batch = model.task.sample(2, length)
        assert model(batch.inputs).shape == (*batch.targets.shape, model.task.output_size)


def test_every_causal_segment_memory_of_the_catalogue_is_a_machine() -> None:
    memories = {
        entry.name for entry in list_mechanisms() if entry.is_recurrent and not entry.is_machine and entry.is_causal
    }
    assert memories <= set(machine_names())
    assert "hierarchical" not in machine_names()


def test_stored_values_have_gradients_unless_the_options_say_otherwise() -> None:
    assert find_mechanism("window").detach[0] == "stored"
    assert build_machine(small("window"), 3).detach == "never"
    assert build_machine(small("window", options={"detach": "stored"}), 3).detach == "stored"


def test_options_replace_those_that_follow_from_the_sizes() -> None:
    machine = build_machine(small("window", options={"capacity": 9}), 3)
    assert machine.init_state(1).layers[0].items.shape == (1, 9, 8)


def test_a_transformer_sees_the_whole_string_and_one_without_memory_its_segment_only() -> None:
    x = torch.randn(1, 7, 3)
    changed = torch.cat([x[:, :1] + 1, x[:, 1:]], dim=1)
    for machine, is_seen in (("transformer", True), ("none", False), ("window", True)):
        torch.manual_seed(0)
        model = build_machine(small(machine), 3)
        outputs = [model(tokens, model.init_state(1))[0][:, -1] for tokens in (x, changed)]
        assert torch.allclose(*outputs) is not is_seen


@pytest.mark.parametrize("machine", ["window", "memory_tokens", "turing"])
def test_two_calls_with_the_state_between_them_equal_one(machine: str) -> None:
    torch.manual_seed(0)
    model, x = build_machine(small(machine), 3).double(), torch.randn(2, 9, 3).double()
    start = model.init_state(2, dtype=torch.double)
    first, state = model(x[:, :6], start)
    second, _ = model(x[:, 6:], state)
    assert_close(torch.cat([first, second], dim=1), model(x, start)[0])


@pytest.mark.parametrize("machine", ["window", "turing"])
def test_a_reset_row_begins_anew_and_padding_changes_no_state(machine: str) -> None:
    model, x = build_machine(small(machine), 3), torch.randn(2, 7, 3)
    fresh = model.init_state(2)
    _, used = model(torch.randn(2, 4, 3), fresh)
    reset = model(x, used, reset=torch.tensor([True, False]))[0]
    assert_close(reset[0], model(x, fresh)[0][0])
    assert_close(reset[1], model(x, used)[0][1])
    _, after = model(x, used, padding=torch.ones(2, 7, dtype=torch.bool))
    assert_close(after.tensors(), used.tensors())


def test_an_empty_segment_gives_an_empty_output() -> None:
    model = build_machine(small("window"), 3)
    assert isinstance(model, SegmentedModel)
    assert model(torch.zeros(2, 0, 3), model.init_state(2))[0].shape == (2, 0, 8)


@pytest.mark.parametrize(
    ("memory", "sizes", "message"),
    [
        ({"name": "elephant"}, {}, "memory must be one of .*rnn, lstm, .* got 'elephant'"),
        ({"name": "hierarchical"}, {}, r"token by token or segment by segment \(.*rnn, .*\), got 'hierarchical'"),
        ({"name": "rnn"}, {"hidden_dim": 0}, "hidden_dim must be at least 1, got 0"),
        ({"name": "none"}, {"segment_length": 0}, "segment_length must be at least 1, got 0"),
        (
            {"name": "rnn", "options": {"size": 3}},
            {},
            "'rnn' has no option size; it has hidden_dim, inner, detach",
        ),
        ({"name": "window"}, {"hidden_dim": 9}, "dim must be a multiple of 2"),
    ],
)
def test_a_wrong_configuration_is_refused(memory: dict[str, Any], sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_machine(MachineConfig(MemoryConfig(**memory), **sizes), 3)
