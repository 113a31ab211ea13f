import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.machines.turing_addressing import (
    HeadLayout,
    HeadParameters,
    address,
    content_weights,
    read_slots,
    sharpen,
    shift_weights,
    write_slots,
)
from mnemic_core.machines.turing_memory import NeuralTuringMemory, convert_official_turing

FOLDER = Path(__file__).parent.parent / "golden"


def listed(cases: list[GoldenCase]) -> list[object]:
    assert cases or "MNEMIC_GOLDEN_DIR" in os.environ, "no golden case of a Turing machine"
    return [pytest.param(case, id=case.name) for case in cases]


def core_cases() -> list[object]:
    cases = golden_cases("core", FOLDER)
    return listed([case for case in cases if case.info.get("mechanism", "").startswith("Neural Turing Machine")])


def speech_cases(prefix: str) -> list[object]:
    return listed(golden_cases("speech", FOLDER, prefix))


def parameters(case: GoldenCase, step: int, *heads: tuple[str, int]) -> HeadParameters:
    """Return the head parameters of a step, heads in the given order."""

    def stack(field: str, names: list[tuple[str, int]]) -> Tensor:
        return torch.stack([case.inputs[f"{kind}.{index}.{step}.{field}"] for kind, index in names], 1)

    shared = [stack(field, list(heads)) for field in ("key", "beta", "gate", "shift", "gamma")]
    writing = [head for head in heads if head[0] == "write"] or [("write", 0)]
    return HeadParameters(*shared, *(stack(field, writing) for field in ("erase", "add")))


def compare(case: GoldenCase, name: str, actual: Tensor) -> None:
    stated = re.search(r"float64 rtol ([\d.e-]+\d)", case.info["tolerance"])
    assert stated, f"{case.name} states no tolerance for float64"
    assert_close(actual, case.outputs[name], rtol=float(stated[1]), atol=1e-12)


@pytest.mark.golden
@pytest.mark.parametrize("case", core_cases())
def test_every_stage_of_every_head_is_that_of_the_paper(case: GoldenCase) -> None:
    sizes, memory = case.config, case.inputs["memory.0"]
    order = [(kind, head) for kind in ("read", "write") for head in range(sizes[f"{kind}_heads"])]
    first = F.one_hot(torch.zeros(sizes["batch"], 1, dtype=torch.long), sizes["slots"]).double()
    previous = dict.fromkeys(order, first)
    for step in range(sizes["steps"]):
        for kind, head in order:
            heads, name = parameters(case, step, (kind, head)), f"{kind}.{head}.{step}"
            stages = address(heads, memory, previous[kind, head], eps=sizes["cosine_eps"])
            for stage, weights in stages._asdict().items():
                compare(case, f"{name}.{stage}", weights[:, 0])
            if kind == "read":
                compare(case, f"{name}.vector", read_slots(memory, stages.weights)[:, 0])
            else:
                memory = write_slots(memory, stages.weights[:, 0], heads.erase[:, 0], heads.add[:, 0])
            previous[kind, head] = stages.weights
        compare(case, f"memory.{step + 1}", memory)


@pytest.mark.golden
@pytest.mark.parametrize("case", core_cases())
def test_a_step_of_the_machine_is_that_of_the_paper(case: GoldenCase) -> None:
    sizes = case.config
    counts = {name: sizes[name] for name in ("read_heads", "write_heads", "max_shift")}
    machine = NeuralTuringMemory(1, slots=sizes["slots"], width=sizes["width"], **counts)
    state = replace(machine.init_state(sizes["batch"], dtype=torch.float64), memory=case.inputs["memory.0"])
    order = [(kind, head) for kind in ("read", "write") for head in range(sizes[f"{kind}_heads"])]
    for step in range(sizes["steps"]):
        state = machine.update(state, parameters(case, step, *order))
        compare(case, f"memory.{step + 1}", state.memory)
        for head in range(sizes["read_heads"]):
            compare(case, f"read.{head}.{step}.vector", state.reads[:, head])
            compare(case, f"read.{head}.{step}.weights", state.read_weights[:, head])
        for head in range(sizes["write_heads"]):
            compare(case, f"write.{head}.{step}.weights", state.write_weights[:, head])


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("a_"))
def test_one_step_of_the_released_heads(case: GoldenCase) -> None:
    sizes, given, expected = case.config, case.inputs, case.outputs
    # The file has heads alone; the converter takes a whole machine, so give it an output layer that nobody reads.
    official = {f"{name.replace('.fc', '_heads.0.fc')}": tensor for name, tensor in case.state.items()}
    official |= {
        "fc.weight": torch.zeros(sizes["hidden"], given["h"].shape[1]),
        "fc.bias": torch.zeros(sizes["hidden"]),
    }
    options = {"slots": sizes["rows"], "width": sizes["cols"], "max_shift": sizes["max_shift"]}
    machine = MemoryConfig("turing_release", options).build(sizes["hidden"])
    machine.load_state_dict(convert_official_turing(official))
    heads = machine.layout.squash(machine.heads(given["h"]))
    memory = given["memory"]
    stages = address(
        heads, memory, torch.stack([given["prev_read_w"], given["prev_write_w"]], 1), eps=case.info["cosine_eps"]
    )
    ours = {}
    for head, kind in enumerate(("read", "write")):
        ours |= {
            f"{kind}.k": heads.key[:, head],
            f"{kind}.beta": heads.strength[:, head],
            f"{kind}.g": heads.gate[:, head],
            f"{kind}.s": heads.shift[:, head].flip(-1),  # the official moves count the other way
            f"{kind}.gamma": heads.sharpening[:, head],
            f"{kind}.w_content": stages.content[:, head],
            f"{kind}.w_gated": stages.interpolated[:, head],
            f"{kind}.w_shifted": stages.shifted[:, head],
            f"{kind}.{'w_sharp' if kind == 'read' else 'w_full'}": stages.weights[:, head],
        }
    for name, weights in (("content", stages.content), ("full", stages.weights)):
        ours[f"read.r_{name}"] = read_slots(memory, weights[:, :1])[:, 0]
        ours[f"write.memory_{name}"] = write_slots(memory, weights[:, 1], heads.erase[:, 0], heads.add[:, 0])
    ours |= {"write.erase": heads.erase[:, 0], "write.add": heads.add[:, 0]}
    empty = content_weights(heads.key, heads.strength, torch.zeros_like(memory), eps=case.info["cosine_eps"])
    ours["read.w_content_zero_memory"] = empty[:, 0]
    assert expected.keys() <= ours.keys()
    for name in expected:
        case.assert_output(name, ours[name])


@settings(deadline=None, max_examples=20)
@given(slots=st.integers(5, 9), max_shift=st.integers(1, 2), move=st.integers(-2, 2), slot=st.integers(0, 8))
def test_a_certain_move_goes_around_the_circle(slots: int, max_shift: int, move: int, slot: int) -> None:
    move = max(-max_shift, min(move, max_shift))
    weights = F.one_hot(torch.tensor([[slot % slots]]), slots).float()
    shift = F.one_hot(torch.tensor([[move + max_shift]]), 2 * max_shift + 1).float()
    assert torch.equal(shift_weights(weights, shift), weights.roll(move, -1))


def test_sharpening_is_the_normalized_power() -> None:
    weights = torch.rand(2, 3, 5, dtype=torch.float64)
    power = weights**2.5
    sharpened = sharpen(weights, torch.full((2, 3, 1), 2.5, dtype=torch.float64))
    assert_close(sharpened, power / power.sum(-1, keepdim=True))


def test_sharpening_neither_underflows_nor_loses_its_gradient() -> None:
    weights = torch.tensor([[[0.0, 0.01, 0.02]]], requires_grad=True)
    sharpened = sharpen(weights, torch.full((1, 1, 1), 40.0))  # 0.02**40 is no float32
    sharpened[0, 0, 2].backward()
    assert_close(sharpened, torch.tensor([[[0.0, 0.0, 1.0]]]))
    assert weights.grad is not None
    assert weights.grad.isfinite().all()


def test_full_erase_and_full_weight_replace_a_slot() -> None:
    memory, new = torch.randn(1, 4, 3), torch.randn(1, 3)
    written = write_slots(memory, torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.ones(1, 3), new)
    assert_close(written[0, 1], new[0])
    assert torch.equal(written[0, [0, 2, 3]], memory[0, [0, 2, 3]])


def test_layouts_join_weights_in_the_order_of_use_and_part_them_again() -> None:
    reading, writing = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    for order, expected in (("reads_first", [0, 0, 1, 1]), ("pairs", [0, 1, 0, 1])):
        layout = HeadLayout.ordered(order, 2, 2, 4, 1)
        joined = layout.join(reading, writing)
        assert joined[0, :, 0].tolist() == expected
        assert all(map(torch.equal, layout.part(joined), (reading, writing)))
