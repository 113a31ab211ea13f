import pytest
import torch

from mnemic_algorithms.bench import build_memory
from mnemic_core import Mechanism, Sizes, list_mechanisms

RECURRENT = [mechanism for mechanism in list_mechanisms() if mechanism.is_recurrent]


@pytest.mark.parametrize("mechanism", RECURRENT, ids=lambda mechanism: mechanism.name)
def test_every_memory_is_built_for_the_sizes_and_runs_a_segment(mechanism: Mechanism) -> None:
    memory = build_memory(mechanism.name, Sizes(dim=8, stored=6, segment_length=4, num_heads=2))
    output, state = memory(torch.randn(2, 4, memory.dim), memory.init_state(2))
    assert memory.dim == 8
    assert output.shape[:2] == (2, 4)
    assert state.batch_size == 2


@pytest.mark.parametrize("name", ["window", "transformer_xl", "slot_attention", "gated_slots"])
def test_memories_store_as_many_vectors(name: str) -> None:
    memory = build_memory(name, Sizes(dim=8, stored=6, segment_length=4, num_heads=2))
    assert memory.init_state(1).slots().values.shape[1] == 6
