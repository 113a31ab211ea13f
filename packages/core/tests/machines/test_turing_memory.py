import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.machines.recurrent import RecurrentMachine, TokenMachine
from mnemic_core.machines.turing_addressing import HeadParameters
from mnemic_core.machines.turing_memory import TURING, NeuralTuringMemory, TuringState, convert_official_turing
from mnemic_core.machines.turing_run import ScanInputs
from mnemic_core.machines.turing_sequence import turing_scan
from mnemic_core.testing import CONTRACT, unchecked_annotations

FOLDER = Path(__file__).parent.parent / "golden"
DIM = 3
SMALL: dict[str, Any] = {"slots": 4, "width": 2}
HEADS = {
    "one head each": {},
    "reads first": {"read_heads": 2, "write_heads": 2},
    "pairs": {"read_heads": 2, "write_heads": 2, "order": "pairs"},
}
MODES = [
    pytest.param({"addressing": addressing, **heads}, id=f"{addressing}, {name}")
    for addressing in ("full", "content", "uniform")
    for name, heads in HEADS.items()
]


def machine(**options: Any) -> NeuralTuringMemory:
    torch.manual_seed(0)
    return NeuralTuringMemory(**{"dim": DIM, **SMALL, "slots": 5, **options})


def used_state(memory: NeuralTuringMemory, batch: int = 3) -> TuringState:
    """Return a state that steps from noise have left."""
    with torch.no_grad():
        state = memory.init_state(batch)
        for token in torch.randn(2, batch, memory.dim, dtype=state.memory.dtype):
            _, state = memory.step(token, state)
    return state


def states_close(actual: TuringState, expected: TuringState, **tolerance: float) -> None:
    for name, tensor in expected.tensors().items():
        assert_close(actual.tensors()[name], tensor, **tolerance)


# What differs from the entry of the catalogue, which `test_contract` puts under the same rules.
VARIANTS = {
    "content": {"addressing": "content", "start": "random"},
    "uniform": {"addressing": "uniform"},
    "pairs from zeros": {"order": "pairs", "read_heads": 2, "write_heads": 2, "start": "zeros"},
}


@pytest.mark.parametrize("rule", CONTRACT.values(), ids=CONTRACT.keys())
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_machine_keeps_rule(options: dict[str, Any], rule: Callable[[NeuralTuringMemory], None]) -> None:
    rule(machine(**options))


@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("options", MODES)
def test_a_segment_and_its_gradients_equal_its_tokens_step_by_step(options: dict[str, Any], is_padded: bool) -> None:
    memory = machine(**options).double()
    x = torch.randn(3, 4, DIM, dtype=torch.float64)
    padding = torch.rand(3, 4) > 0.6 if is_padded else None
    start = used_state(memory)
    results = []
    for run in (NeuralTuringMemory.forward, TokenMachine.forward):
        leaves = [x.clone().requires_grad_(), start.map(lambda tensor: tensor.clone().requires_grad_(tensor.ndim > 1))]
        output, state = run(memory, leaves[0], leaves[1], padding=padding)
        values = [output if padding is None else output[~padding], *list(state.tensors().values())[:4]]
        total = torch.stack(
            [(value * torch.arange(value.numel()).view_as(value).cos()).sum() for value in values]
        ).sum()
        wanted = [leaves[0], *list(leaves[1].tensors().values())[:4], memory.heads.weight, memory.output.weight]
        results.append((values, torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True), state))
    assert torch.equal(results[0][2].count, results[1][2].count)
    for actual, expected in zip([*results[0][0], *results[0][1]], [*results[1][0], *results[1][1]], strict=True):
        assert_close(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", MODES)
def test_a_segment_without_gradients_keeps_nothing_and_gives_the_same(options: dict[str, Any]) -> None:
    memory, x = machine(**options), torch.randn(3, 4, DIM)
    state, padding = used_state(memory), torch.rand(3, 4) > 0.6
    output, after = memory(x, state, padding=padding)
    with torch.no_grad():
        kept_output, kept_after = memory(x, state, padding=padding)
    assert torch.equal(kept_output, output)
    states_close(kept_after, after, rtol=0, atol=0)


def test_a_residual_output_is_the_token_plus_the_scaled_read() -> None:
    memory, x = machine(residual=True), torch.randn(2, 4, DIM)
    plain = machine()
    plain.load_state_dict(memory.state_dict(), strict=False)
    torch.nn.init.constant_(memory.scale, 0.5)
    for run in (NeuralTuringMemory.forward, TokenMachine.forward):
        assert_close(run(memory, x, memory.init_state(2))[0], x + 0.5 * plain(x, plain.init_state(2))[0])


@pytest.mark.parametrize("is_full", [True, False])
def test_the_derivative_of_the_recurrence_is_the_true_one(is_full: bool) -> None:
    memory = machine(read_heads=2, write_heads=2, order="pairs").double()
    start = used_state(memory, batch=2)
    weights = memory.layout.join(start.read_weights, start.write_weights)
    drive = torch.randn(2, 2, sum(memory.layout.sizes), dtype=torch.float64)
    recurrent = memory.heads.weight[:, DIM:].detach()
    leaves = [tensor.clone().requires_grad_() for tensor in (drive, recurrent, start.memory, start.reads, weights)]
    active = torch.tensor([[True, True], [True, False]])
    assert torch.autograd.gradcheck(
        lambda *inputs: turing_scan(ScanInputs(*inputs, active), memory.layout, is_full=is_full), leaves, fast_mode=True
    )


@pytest.mark.parametrize("addressing", ["full", "content"])
def test_slots_whose_length_underflows_have_gradients_too(addressing: str) -> None:
    memory, x = machine(addressing=addressing), torch.randn(2, 3, DIM)
    scales = torch.tensor([1.0, 1e-18, 1e-22, 1e-26, 0.0])  # squares of the last three are 0 in float32, or nearly
    start = used_state(memory, batch=2)
    start = replace(start, memory=start.memory * scales[:, None])

    def gradients(run: Callable[..., tuple[Tensor, TuringState]], dtype: torch.dtype) -> tuple[Tensor, ...]:
        network = machine(addressing=addressing).to(dtype)
        state = start.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        slots = state.memory.clone().requires_grad_()
        output, after = run(network, x.to(dtype), replace(state, memory=slots))
        wanted = [slots, network.heads.weight]
        return torch.autograd.grad(output.square().sum() + after.memory.square().sum(), wanted)

    exact = gradients(TokenMachine.forward, torch.float64)
    for actual, expected in zip(gradients(NeuralTuringMemory.forward, torch.float32), exact, strict=True):
        assert_close(actual.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_compiled_segment_has_the_gradients_of_an_eager_one() -> None:
    memory, x = machine(), torch.randn(2, 2, DIM)
    state = memory.init_state(2).detach()

    def loss(run: Callable[..., tuple[Tensor, TuringState]]) -> Tensor:
        output, after = run(x, state)
        (gradient,) = torch.autograd.grad(output.square().sum() + after.memory.square().sum(), memory.heads.weight)
        return gradient

    torch.compiler.reset()
    with unchecked_annotations():
        compiled = loss(torch.compile(memory, fullgraph=True, backend="aot_eager"))
    assert_close(compiled, loss(memory))


def test_pairs_of_heads_act_one_after_the_other() -> None:
    pairs, single = machine(read_heads=2, write_heads=2, order="pairs"), machine()
    state = used_state(pairs)
    heads = pairs.layout.squash(torch.randn(3, sum(pairs.layout.sizes)))
    after, memory = pairs.update(state, heads), state.memory
    for pair in range(2):
        own = slice(pair, pair + 1)
        before = TuringState(
            memory, state.reads[:, own], state.read_weights[:, own], state.write_weights[:, own], state.count
        )
        both = [part[:, 2 * pair : 2 * pair + 2] for part in heads[:5]]
        alone = single.update(before, HeadParameters._make([*both, heads.erase[:, own], heads.add[:, own]]))
        memory = alone.memory
        assert_close(after.reads[:, own], alone.reads)
        assert_close(after.read_weights[:, own], alone.read_weights)
    assert_close(after.memory, memory)


def test_padding_anywhere_changes_nothing_and_an_all_padding_segment_leaves_the_state() -> None:
    memory, state, x = machine(), used_state(machine()), torch.randn(3, 4, DIM)
    spread = torch.full((3, 6, DIM), torch.nan)
    places = torch.tensor([0, 2, 3, 5])
    spread[:, places] = x
    padding = torch.ones(3, 6, dtype=torch.bool)
    padding[:, places] = False
    output, after = memory(x, state)
    padded_output, padded_after = memory(spread, state, padding=padding)
    assert_close(padded_output[:, places], output)
    states_close(padded_after, after)
    _, unchanged = memory(spread, state, padding=torch.ones_like(padding))
    states_close(unchanged, state, rtol=0, atol=0)


def test_a_segment_without_tokens_leaves_the_state() -> None:
    memory = machine()
    state = used_state(memory)
    output, after = memory(torch.zeros(3, 0, DIM), state)
    assert output.shape == (3, 0, DIM)
    states_close(after, state, rtol=0, atol=0)


def test_nan_stays_in_its_row() -> None:
    memory, x = machine(), torch.randn(3, 4, DIM)
    x[1] = torch.nan
    output, state = memory(x, memory.init_state(3))
    assert output[1].isnan().all()
    assert output[[0, 2]].isfinite().all()
    assert state.memory[[0, 2]].isfinite().all()


def test_uniform_addressing_equals_content_addressing_of_equal_slots() -> None:
    content, uniform = (
        MemoryConfig("turing_release", {**SMALL, "addressing": addressing}).build(DIM)
        for addressing in ("content", "uniform")
    )
    uniform.load_state_dict(content.state_dict())
    x = torch.randn(2, 5, DIM)
    (expected, state), (output, uniform_state) = (each(x, each.init_state(2)) for each in (content, uniform))
    assert_close(output, expected)
    states_close(uniform_state, state)
    assert content.report(state).diversity == pytest.approx(0, abs=1e-6)


def test_by_default_slots_do_not_collapse() -> None:
    memory = machine(addressing="content")
    _, state = memory(torch.randn(2, 30, DIM), memory.init_state(2))
    assert memory.report(state).diversity > 1e-3


@pytest.mark.parametrize("start", ["learned", "random", "zeros", "constant"])
def test_every_start_is_the_same_in_each_row_and_only_a_learned_one_learns(start: str) -> None:
    memory = machine(start=start)
    state = memory.init_state(2)
    assert torch.equal(state.memory[0], state.memory[1])
    assert state.memory.requires_grad is (start == "learned")
    assert ("initial" in memory.state_dict()) is (start in ("learned", "random"))


def test_presets_have_the_options_of_their_names() -> None:
    built = {name: MemoryConfig(name, SMALL).build(DIM) for name in TURING.presets}
    assert [each.addressing for each in built.values()] == ["full", "uniform", "full"]
    x = torch.randn(2, 3, DIM)
    improved = built["turing_improved"]
    assert torch.equal(improved(x, improved.init_state(2))[0], x)  # it starts as if it were not there


@pytest.mark.parametrize("how", ["module", "autocast"])
def test_the_state_stays_in_single_precision_in_half_precision_models(how: str) -> None:
    memory, x = machine(), torch.randn(2, 3, DIM)
    if how == "module":
        output, state = memory.bfloat16()(x.bfloat16(), memory.init_state(2))
        assert output.dtype == torch.bfloat16
    else:
        with torch.autocast("cpu", torch.bfloat16):
            output, state = memory(x, memory.init_state(2))
            (output.float().sum() + state.memory.sum()).backward()
        assert memory.heads.weight.grad is not None
    assert state.memory.dtype == state.read_weights.dtype == torch.float32
    assert_close(state.read_weights.sum(-1), torch.ones(2, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"addressing": "place"}, "addressing must be one of full, content, uniform, got 'place'"),
        ({"slots": 0}, "must be at least 1, got 0"),
        ({"read_heads": 2, "order": "pairs"}, "as many read_heads as write_heads, got 2 and 1"),
        ({"max_shift": 3}, "below half of slots=5, got 3"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        machine(**options)


def test_a_state_or_segment_that_does_not_fit_is_refused() -> None:
    memory = machine()
    with unchecked_annotations(), pytest.raises(TypeError, match="works with a TuringState, got a RecurrentState"):
        memory(torch.zeros(2, 1, DIM), RecurrentMachine(DIM).init_state(2))
    with pytest.raises(ValueError, match=r"expected tokens of width 3 in 2 rows, got width 4"):
        memory(torch.zeros(2, 1, 4), memory.init_state(2))
    with pytest.raises(ValueError, match=r"memory of shape \(2, 5, 2\), got \(2, 6, 2\)"):
        memory(torch.zeros(2, 1, DIM), machine(slots=6).init_state(2))
    with pytest.raises(ValueError, match=r"turing_paper, turing_release, turing_improved.*, got 'turing_best'"):
        MemoryConfig("turing_best")
    with pytest.raises(ValueError, match=r"strip the prefix 'ntm\.'"):
        convert_official_turing({"ntm.fc.bias": torch.zeros(1)})


def speech_cases(prefix: str) -> list[object]:
    cases = golden_cases("speech", FOLDER, prefix)
    assert cases or "MNEMIC_GOLDEN_DIR" in os.environ, f"no golden case {prefix}*"
    return [pytest.param(case, id=case.name) for case in cases]


def released(case: GoldenCase, dim: int, **options: Any) -> NeuralTuringMemory:
    sizes = case.config
    counts = {"read_heads": sizes["heads"], "write_heads": sizes["heads"], "max_shift": sizes["max_shift"]}
    counts |= {"slots": sizes["rows"], "width": sizes["cols"], "addressing": "content"}
    memory = MemoryConfig("turing_release", {**counts, **options}).build(dim)
    memory.load_state_dict(convert_official_turing(case.state))
    return memory


MODES_OF_FILE = [
    ("content", "content"),
    ("content", "uniform"),
    ("content_rand", "content"),
    ("full", "full"),
    ("full_rand", "full"),
]


@pytest.mark.golden
@pytest.mark.parametrize(("mode", "addressing"), MODES_OF_FILE)
@pytest.mark.parametrize("case", speech_cases("b_"))
def test_released_cell_over_a_sequence(case: GoldenCase, mode: str, addressing: str) -> None:
    memory = released(case, case.config["input"], addressing=addressing)
    state = memory.init_state(case.config["batch"])
    if mode.endswith("rand"):
        given = {name: case.inputs[f"{name}0"] for name in ("memory", "read_vectors", "read_w", "write_w")}
        state = TuringState(*given.values(), state.count)
    x = case.inputs["x"].requires_grad_()
    output, after = memory(x, state)
    case.assert_output(f"{mode}.y", output)
    states = [state]
    for token in x.unbind(1):
        states.append(memory.step(token, states[-1])[1])
    names = {"memory": "memory", "read_vectors": "reads", "read_w": "read_weights", "write_w": "write_weights"}
    for official, name in names.items():
        steps = torch.stack([each.tensors()[name] for each in states[1:]], 1)
        case.assert_output(f"{mode}.{official}", steps)
        assert_close(after.tensors()[name], steps[:, -1])
    _compare_gradients(case, mode, memory, x, output)


def _compare_gradients(case: GoldenCase, mode: str, memory: NeuralTuringMemory, x: Tensor, output: Tensor) -> None:
    total = (output * torch.arange(output.numel(), dtype=output.dtype).sin().view_as(output)).sum()
    prefix = f"{mode}.grad."
    official = {name.removeprefix(prefix): value for name, value in case.outputs.items() if name.startswith(prefix)}
    expected = {"x": case.outputs[f"{mode}.grad_x"], **convert_official_turing(official)}
    leaves = {"x": x, **dict(memory.named_parameters())}
    assert expected.keys() == leaves.keys()
    for name, gradient in zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True):
        allowed = case.info["tolerance"]
        assert_close(gradient, expected[name], atol=allowed["atol"], rtol=allowed["rtol"], msg=f"{mode} {name}")


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("c_"))
def test_released_module_over_encoder_frames(case: GoldenCase) -> None:
    sizes, x = case.config, case.inputs["encoder_out"]
    content, full = (released(case, sizes["dim"], addressing=each) for each in ("content", "full"))
    start = content.init_state(sizes["batch"])
    for name, memory, state in (
        ("", content, start),
        ("rand.", content, replace(start, memory=case.inputs["memory0"])),
        ("full.", full, start),
    ):
        output, after = memory(x, state)
        case.assert_output(f"{name}y", output)
        case.assert_output(f"{name}memory", after.memory)
    state, cuts = start, sizes["chunk_cuts"]
    for index, segment in enumerate(x.tensor_split(cuts, dim=1)):
        output, state = content(segment, state)
        case.assert_output(f"chunk{index}.y", output)
        case.assert_output(f"chunk{index}.memory", state.memory)


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("c_"))
def test_a_sequence_alone_equals_the_same_in_a_batch_of_longer_ones(case: GoldenCase) -> None:
    memory, lengths = released(case, case.config["dim"]), case.inputs["encoder_out_lens"]
    alone = case.outputs["y_item1_alone"]
    x = case.inputs["encoder_out"]
    case.assert_output("y_item1_alone", memory(x[1:2, : alone.shape[1]], memory.init_state(1))[0])
    padding = torch.arange(x.shape[1]) >= lengths[:, None]
    output, _ = memory(x, memory.init_state(len(x)), padding=padding)
    assert_close(output[~padding], case.outputs["y"][~padding], atol=case.tolerance, rtol=1e-5)
    # The official code pads a small batch in front with zeros, so that rows get the states of others: not copied.
    shifted = torch.cat([torch.zeros_like(x[:1, 0]), x[:-1, 0]])
    case.assert_output("quirk_small_batch_step0", memory.step(shifted, memory.init_state(len(x)))[0])
