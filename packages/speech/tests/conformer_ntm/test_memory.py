from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig, MemoryState
from mnemic_core.testing import unchecked_annotations
from mnemic_speech.conformer_ntm import ConformerNtmConfig
from mnemic_speech.conformer_ntm.memory import EncoderMemory

DIM = 8
Build = Callable[[str], EncoderMemory]
Options = dict[str, dict[str, Any]]


@pytest.fixture
def memory_of(memories: Options) -> Build:
    """Return a maker of memories by name whose effect on the frames can be seen."""

    def build(name: str) -> EncoderMemory:
        torch.manual_seed(0)
        memory = EncoderMemory(DIM, MemoryConfig(name, memories[name]), segment=3)
        for parameter_name, parameter in memory.named_parameters():
            if parameter_name.endswith("scale"):  # at 0 nothing that is recalled could be seen
                torch.nn.init.constant_(parameter, 0.5)
        return memory.eval()

    return build


def states_close(actual: MemoryState, expected: MemoryState) -> None:
    assert_close(actual.tensors(), expected.tensors())


def test_pieces_of_complete_segments_equal_the_recording(memory_of: Build, memory_name: str) -> None:
    memory, hidden = memory_of(memory_name), torch.randn(2, 11, DIM)
    complete, after = memory(hidden, memory.init_state(2))
    state, pieces = memory.init_state(2), []
    for piece in hidden.split([3, 6, 2], 1):
        output, state = memory(piece, state)
        pieces.append(output)
    assert_close(torch.cat(pieces, 1), complete)
    states_close(state, after)


def test_a_padded_row_gives_what_it_gives_alone(memory_of: Build, memory_name: str) -> None:
    memory, hidden = memory_of(memory_name), torch.randn(2, 11, DIM)
    padding = torch.arange(11) >= torch.tensor([11, 5])[:, None]
    output, after = memory(hidden, memory.init_state(2), padding=padding)
    alone, after_alone = memory(hidden[1:, :5], memory.init_state(1))
    assert output.isfinite().all()
    assert_close(output[1:, :5], alone)
    states_close(after.index_select(torch.tensor([1])), after_alone)


def test_a_reset_row_starts_from_the_initial_state(memory_of: Build, memory_name: str) -> None:
    memory, hidden = memory_of(memory_name), torch.randn(2, 8, DIM)
    _, used = memory(hidden, memory.init_state(2))
    output, after = memory(hidden, used, reset=torch.tensor([False, True]))
    fresh, after_fresh = memory(hidden, memory.init_state(2))
    assert_close(output[1], fresh[1])
    states_close(after.index_select(torch.tensor([1])), after_fresh.index_select(torch.tensor([1])))
    assert_close(output[0], memory(hidden, used)[0][0])


def test_earlier_frames_change_the_output(memory_of: Build, memories: Options) -> None:
    for name in [name for name in memories if name != "none"]:
        memory, hidden = memory_of(name), torch.randn(1, 6, DIM)
        _, state = memory(torch.randn(1, 6, DIM), memory.init_state(1))
        assert not torch.allclose(memory(hidden, state)[0], memory(hidden, memory.init_state(1))[0], atol=1e-4)


@pytest.mark.parametrize("name", ["none", "turing_improved", "slot_attention", "exponential", "window"])
def test_training_begins_as_without_memory(memories: Options, name: str) -> None:
    memory, hidden = EncoderMemory(DIM, MemoryConfig(name, memories[name]), segment=3), torch.randn(2, 7, DIM)
    assert torch.equal(memory(hidden, memory.init_state(2))[0], hidden)


def test_presets_are_the_machines_of_core(memory_of: Build) -> None:
    hidden = torch.randn(2, 6, DIM)
    for name, options in (("turing_release", {"addressing": "content"}), ("turing_paper", {}), ("turing_improved", {})):
        memory, machine = memory_of(name), MemoryConfig(name, {"slots": 5, "width": 4, **options}).build(DIM)
        machine.load_state_dict(memory.mechanism.state_dict())
        assert_close(memory(hidden, memory.init_state(2))[0], machine(hidden, machine.init_state(2))[0])


def test_autocast_leaves_the_memory_in_single_precision(memory_of: Build, memory_name: str) -> None:
    memory, hidden = memory_of(memory_name), torch.randn(2, 7, DIM).bfloat16()
    expected, after = memory(hidden.float(), memory.init_state(2))
    with torch.autocast("cpu", torch.bfloat16):
        output, state = memory(hidden, memory.init_state(2))
    assert output.dtype == torch.bfloat16
    assert_close(output, expected.bfloat16())
    assert all(torch.equal(tensor, after.tensors()[key]) for key, tensor in state.tensors().items())


def test_a_report_shows_that_equal_slots_stay_equal(memory_of: Build) -> None:
    hidden = torch.randn(1, 20, DIM)
    found = {}
    for name in ("turing_release", "turing_improved"):
        memory = memory_of(name)
        found[name] = memory.report(memory(hidden, memory.init_state(1))[1]).diversity
    assert found["turing_release"] == pytest.approx(0, abs=1e-6)
    assert found["turing_improved"] is not None
    assert found["turing_improved"] > 0.01


def test_only_memories_of_the_catalogue_care_where_segments_are_cut(memories: Options) -> None:
    configs = {name: ConformerNtmConfig(vocab_size=5, memory=MemoryConfig(name)) for name in memories}
    assert [name for name, config in configs.items() if config.takes_segments] == list(memories)[4:]


def test_sizes_are_those_of_the_released_memory() -> None:
    assert (
        sum(parameter.numel() for parameter in EncoderMemory(256, MemoryConfig("turing_release")).parameters())
        == 82_236
    )


def test_memories_that_cannot_stand_there_are_refused(memory_of: Build) -> None:
    with pytest.raises(ValueError, match=r"can follow an encoder \(.*exponential, .*\), got 'memory_tokens'"):
        ConformerNtmConfig(vocab_size=5, memory=MemoryConfig("memory_tokens"))
    with pytest.raises(ValueError, match="memory 'turing_paper' has no option size"):
        EncoderMemory(DIM, MemoryConfig("turing_paper", {"size": 3}))
    with unchecked_annotations(), pytest.raises(TypeError, match="works with a TuringState, got a NoMemoryState"):
        memory_of("turing_paper")(torch.zeros(1, 2, DIM), memory_of("none").init_state(1))
