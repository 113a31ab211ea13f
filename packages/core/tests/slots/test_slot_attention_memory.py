import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.slots.slot_attention_memory import SlotAttentionMemory, SlotAttentionState
from mnemic_core.testing import assert_close as assert_within

DIM, SLOTS, HEADS = 8, 3, 2
FOLDER = Path(__file__).parent.parent / "golden"
CASES = [
    pytest.param(case, id=case.name)
    for case in golden_cases("core", FOLDER)
    if "memory slot attention" in case.info.get("mechanism", "")
]


PARTS = {"read": "reading", "write": "writing"}
PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "output"}


def convert_memformer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the reference, named as in the paper's equations ``y = x W``, under our names."""
    converted = {}
    for name, weight in weights.items():
        part, _, projection = name.partition(".")
        if name == "bias":
            converted[name] = weight
        elif part in PARTS and projection in PROJECTIONS:
            converted[f"{PARTS[part]}.{PROJECTIONS[projection]}.weight"] = weight.T
        else:
            raise ValueError(f"expected bias, read.* or write.* with q, k, v or o, got {name!r}: no Memformer weights")
    return converted


@pytest.fixture
def memory() -> SlotAttentionMemory:
    torch.manual_seed(0)
    return SlotAttentionMemory(DIM, num_slots=SLOTS, num_heads=HEADS)


def used_state(memory: SlotAttentionMemory, batch: int = 2) -> SlotAttentionState:
    return memory.write(memory.init_state(batch), torch.randn(batch, 4, DIM))


def attend_only_to_itself(memory: SlotAttentionMemory) -> None:
    """Make the logit of a slot for itself huge, and that for a token of zeros stays zero."""
    with torch.no_grad():
        memory.writing.query.weight.copy_(1e5 * torch.eye(DIM))
        memory.writing.key.weight.copy_(torch.eye(DIM))


@pytest.mark.golden
def test_reference_cases_are_found() -> None:
    assert CASES or "MNEMIC_GOLDEN_DIR" in os.environ


@pytest.mark.golden
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_reading_and_writing_equal_the_reference(case: GoldenCase, dtype: torch.dtype) -> None:
    sizes = case.config
    memory = SlotAttentionMemory(
        sizes["d"], num_slots=sizes["slots"], num_heads=sizes["heads"], temperature=float(sizes["temperature"])
    ).to(dtype)
    memory.load_state_dict(convert_memformer(case.state))
    state, found = memory.init_state(sizes["batch"]), {}
    found["memory.0"] = state.content
    for step in range(sizes["steps"]):
        x, padding = case.inputs[f"x.{step}"].to(dtype), case.inputs[f"mask.{step}"] == 0
        found[f"write_attention.{step}"] = memory.write_weights(state, x, padding=padding)
        found[f"read.{step}"] = memory.read(x, state)  # the reference also reads with what stands at padding
        state = memory.write(state, x, padding=padding)
        found[f"memory.{step + 1}"] = state.content
    assert found.keys() == case.outputs.keys()
    for name, actual in found.items():
        assert_within(actual, case.outputs[name], tolerance=tolerance(case, dtype), name=name)


def tolerance(case: GoldenCase, dtype: torch.dtype) -> float:
    """Return what the file allows in this precision, as in ``float64 rtol 1e-9; float32 rtol 1e-4``."""
    stated = re.search(rf"{str(dtype).removeprefix('torch.')} rtol ([\d.e-]+)", str(case.info["tolerance"]))
    return float(stated[1]) if stated else case.tolerance


def test_writing_equals_the_equations_slot_by_slot(memory: SlotAttentionMemory) -> None:
    state, values = used_state(memory), torch.randn(2, 5, DIM)
    padding = torch.tensor([[False, True, False, False, True], [False] * 5])
    written = memory.write(state, values.masked_fill(padding[..., None], math.nan), padding=padding)
    for row in range(2):
        tokens = values[row, ~padding[row]]
        for slot in range(SLOTS):
            mixed = mix(memory, torch.cat([state.content[row, slot : slot + 1], tokens]))
            assert_close(written.content[row, slot], F.normalize(mixed + memory.bias[slot], dim=0))


def mix(memory: SlotAttentionMemory, seen: Tensor) -> Tensor:
    """Return what a slot, the first of the vectors that it sees, takes from them."""
    writing = memory.writing
    heads = []
    for part in torch.arange(DIM).chunk(HEADS):
        query, key, value = writing.query(seen[0])[part], writing.key(seen)[:, part], writing.value(seen)[:, part]
        weights = (key @ query / (math.sqrt(len(part)) * memory.temperature)).softmax(0)
        heads.append(weights @ value)
    return writing.output(torch.cat(heads))


def test_a_slot_that_attends_only_to_itself_keeps_its_content_up_to_the_pull(memory: SlotAttentionMemory) -> None:
    state = used_state(memory)
    attend_only_to_itself(memory)
    after = memory.write(state, torch.zeros(2, 3, DIM))
    assert_close(after.content, F.normalize(state.content + memory.bias, dim=-1))


def test_repeated_empty_writes_converge_to_the_initial_slots(memory: SlotAttentionMemory) -> None:
    state, start = used_state(memory), memory.init_state(2)
    attend_only_to_itself(memory)
    distances = []
    for _ in range(200):
        distances.append((state.content - start.content).norm(dim=-1).max())
        state = memory.write(state, torch.zeros(2, 1, DIM))
    assert all(later < earlier for earlier, later in pairwise(distances[:50]))
    assert_close(state.content, start.content)


def test_half_of_a_small_distance_is_forgotten_in_seven_writes(memory: SlotAttentionMemory) -> None:
    attend_only_to_itself(memory)
    start = memory.init_state(1)
    near = replace(start, content=F.normalize(start.content + 0.01 * torch.randn(1, SLOTS, DIM), dim=-1))
    state = near
    for _ in range(7):
        state = memory.write(state, torch.zeros(1, 1, DIM))
    left = (state.content - start.content).norm(dim=-1) / (near.content - start.content).norm(dim=-1)
    assert_close(left, torch.full_like(left, 0.5), atol=0.02, rtol=0)


def test_slots_never_see_each_other(memory: SlotAttentionMemory) -> None:
    state, values = used_state(memory), torch.randn(2, 4, DIM)
    content = state.content.clone()
    content[:, 1] = -content[:, 1]
    before, after = memory.write(state, values), memory.write(replace(state, content=content), values)
    assert torch.equal(after.content[:, ::2], before.content[:, ::2])
    assert not torch.equal(after.content[:, 1], before.content[:, 1])


def test_slots_start_distinct_and_stay_distinct() -> None:
    torch.manual_seed(0)
    memory = SlotAttentionMemory(32, num_slots=8, num_heads=4)
    state = memory.init_state(2)
    assert F.cosine_similarity(state.content[0, 0], state.content[0, 1], dim=0) < 0.5
    for _ in range(30):
        state = memory.write(state, torch.randn(2, 16, 32))
    assert (memory.report(state).diversity or 0) > 0.5


def test_slots_have_length_one_however_large_the_tokens_are(memory: SlotAttentionMemory) -> None:
    state = memory.write(memory.init_state(2), 1e4 * torch.randn(2, 5, DIM))
    assert_close(state.content.norm(dim=-1), torch.ones(2, SLOTS))


def test_near_temperature_zero_a_slot_takes_one_token_or_keeps_itself() -> None:
    memory = SlotAttentionMemory(DIM, num_slots=SLOTS, num_heads=HEADS, temperature=1e-6)
    weights = memory.write_weights(used_state(memory), torch.randn(2, 5, DIM))
    assert_close(weights.amax(-1), torch.ones(2, HEADS, SLOTS))


def test_pauses_leave_rows_bit_identical(memory: SlotAttentionMemory) -> None:
    state, values, padding = used_state(memory), torch.randn(2, 2, DIM), torch.tensor([[True, True], [False, True]])
    after = memory.write(state, values.masked_fill(padding[..., None], math.nan), padding=padding)
    assert torch.equal(after.content[0], state.content[0])
    assert not torch.equal(after.content[1], state.content[1])
    assert after.count.tolist() == [1, 2]


def test_a_segment_without_tokens_changes_nothing(memory: SlotAttentionMemory) -> None:
    state = used_state(memory)
    recalled, after = memory(torch.empty(2, 0, DIM), state)
    assert recalled.shape == (2, 0, DIM)
    assert torch.equal(after.content, state.content)
    assert torch.equal(after.count, state.count)


def test_nan_stays_in_its_row(memory: SlotAttentionMemory) -> None:
    x = torch.randn(2, 4, DIM)
    x[0, 1] = math.nan
    recalled, state = memory(x, used_state(memory))
    assert state.content[0].isnan().any()
    assert state.content[1].isfinite().all()
    assert recalled[1].isfinite().all()


def test_reading_weighs_the_slots_as_read_weights_say() -> None:
    memory = SlotAttentionMemory(DIM, num_slots=SLOTS, num_heads=1)
    query, state = torch.randn(2, 5, DIM), used_state(memory)
    recalled = memory.reading.output(memory.read_weights(query, state) @ memory.reading.value(state.content))
    assert_close(memory.read(query, state), recalled)


def test_the_report_has_slots_ages_and_read_weights(memory: SlotAttentionMemory) -> None:
    assert memory.report(memory.init_state(2)).written == 0
    report = memory.report(memory.write(used_state(memory), torch.randn(2, 4, DIM)), torch.randn(2, 5, DIM))
    assert (report.written, report.capacity, report.age_max) == (2 * SLOTS, 2 * SLOTS, 1)
    assert report.bytes_per_row == 4 * SLOTS * DIM + 8
    assert report.memory_mass == pytest.approx(1)
    assert 0 < (report.read_entropy or 0) <= 1


def test_gradients_reach_the_initial_slots(memory: SlotAttentionMemory) -> None:
    memory.read(torch.randn(1, 2, DIM), memory.init_state(1)).square().sum().backward()
    assert memory.bias.grad is not None
    assert memory.bias.grad.abs().sum() > 0


def test_slots_stay_in_float32_in_a_bfloat16_network() -> None:
    memory = SlotAttentionMemory(DIM, num_slots=SLOTS, num_heads=HEADS).bfloat16()
    recalled, state = memory(torch.randn(1, 4, DIM, dtype=torch.bfloat16), memory.init_state(1))
    assert recalled.dtype == torch.bfloat16
    assert state.content.dtype == torch.float32
    assert_close(state.content.norm(dim=-1), torch.ones(1, SLOTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_slots": 0}, "num_slots must be at least 1, got 0"),
        ({"num_heads": 3}, "divide dim, got dim=8, num_heads=3"),
        ({"num_heads": 0}, "num_heads must divide dim, got dim=8, num_heads=0"),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0"),
        ({"temperature": math.nan}, "temperature must be positive and finite, got nan"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlotAttentionMemory(**{"dim": DIM, "num_heads": HEADS, **options})  # type: ignore[arg-type]


def test_a_state_of_other_sizes_is_refused(memory: SlotAttentionMemory) -> None:
    x = torch.randn(2, 4, DIM)
    other = SlotAttentionMemory(DIM, num_slots=SLOTS + 1, num_heads=HEADS)
    refused = (
        (memory.init_state(1), r"width 8 in 1 rows, got width 8 in 2 rows.*init_state\(batch=2\)"),
        (other.init_state(2), r"state with slots of shape \(2, 3, 8\).*make it with init_state"),
    )
    for state, message in refused:
        with pytest.raises(ValueError, match=message):
            memory(x, state)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'read\.x': no Memformer weights"):
        convert_memformer({"read.x": nn.Linear(2, 2).weight})
