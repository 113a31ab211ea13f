import io
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.slots.gated_slot_encoder import GatedSlotEncoder, GatedSlotState, convert_membart
from mnemic_core.testing import assert_close as assert_within
from mnemic_core.testing import check_replay_equality
from mnemic_core.training import replay_backward

DIM = 8
OPTIONS = {"num_slots": 3, "num_heads": 2, "ffn_dim": 12, "num_layers": 2, "max_length": 8, "dropout": 0.0}
FOLDER = Path(__file__).parent.parent / "golden"
CASES = [
    pytest.param(case, id=case.name)
    for case in golden_cases("core", FOLDER)
    if "MemBART encoder" in case.info.get("mechanism", "")
]
Segment = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def encoder() -> GatedSlotEncoder:
    return build()


def build(**changes: float) -> GatedSlotEncoder:
    torch.manual_seed(0)
    return GatedSlotEncoder(**{"dim": DIM, **OPTIONS, **changes})  # type: ignore[arg-type]


def used_state(encoder: GatedSlotEncoder, batch: int = 2) -> GatedSlotState:
    return encoder(torch.randn(batch, 4, DIM), encoder.init_state(batch))[1]


def set_gate(encoder: GatedSlotEncoder, logit: float) -> None:
    torch.nn.init.zeros_(encoder.gate[4].weight)
    torch.nn.init.constant_(encoder.gate[4].bias, logit)


def test_replay_draws_the_same_dropout() -> None:
    check_replay_equality(build(dropout=0.25))


@pytest.mark.golden
def test_official_cases_are_found() -> None:
    assert CASES or "MNEMIC_GOLDEN_DIR" in os.environ


def official_encoder(case: GoldenCase) -> GatedSlotEncoder:
    sizes = case.config
    weights = convert_membart(case.state, position_offset=sizes["position_offset"])
    encoder = GatedSlotEncoder(
        sizes["d_model"],
        num_slots=sizes["memory_len"],
        num_heads=sizes["heads"],
        ffn_dim=sizes["ffn"],
        num_layers=sizes["layers"],
        max_length=len(weights["positions"]),
        dropout=float(sizes["dropout"]),
    )
    assert encoder.slot_norm.eps == sizes["layer_norm_eps"]
    encoder.load_state_dict(weights)
    return encoder


def segments_of(case: GoldenCase) -> list[Segment]:
    """Return embedded tokens, padding and reset of every segment."""
    scale = case.config["d_model"] ** 0.5 if case.config["scale_embedding"] else 1.0
    given, table = case.inputs, case.state["embed_tokens.weight"] * scale
    return [
        (table[given[f"ids.{step}"]], given[f"attention_mask.{step}"] == 0, given[f"reset.{step}"] == 1)
        for step in range(case.config["steps"])
    ]


def first_state(case: GoldenCase) -> GatedSlotState:
    return GatedSlotState(case.inputs["memory.0"].clone().requires_grad_(), torch.zeros(case.config["batch"]).long())


def official_step(encoder: GatedSlotEncoder) -> Callable[[Segment, GatedSlotState], tuple[Tensor, GatedSlotState]]:
    """Return a step whose output is the official one: new slots and encoded tokens."""

    def step(segment: Segment, state: GatedSlotState) -> tuple[Tensor, GatedSlotState]:
        x, padding, reset = segment
        encoded, state = encoder(x, state, padding=padding, reset=reset)
        return torch.cat([state.content, encoded], dim=1), state

    return step


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_slots_tokens_and_gates_equal_the_official_ones(case: GoldenCase) -> None:
    encoder, state = official_encoder(case), first_state(case)
    gates: list[Tensor] = []
    encoder.gate.register_forward_hook(lambda module, args, gate: gates.append(gate))
    for index, segment in enumerate(segments_of(case)):
        hidden, state = official_step(encoder)(segment, state)
        case.assert_output(f"hidden.{index}", hidden)
        case.assert_output(f"memory.{index + 1}", state.content)
        case.assert_output(f"gate.{index}", gates[index])


def back_propagate(encoder: GatedSlotEncoder, case: GoldenCase, *, replay: bool) -> tuple[Tensor, Tensor]:
    """Return the loss of the rollout and its gradient with respect to the first slots; fill the parameters' own."""

    def loss_fn(hidden: Tensor, index: int) -> Tensor:
        return (hidden * case.inputs[f"w_loss.{index}"]).mean()

    step, segments, state = official_step(encoder), segments_of(case), first_state(case)
    if replay:
        losses, _, gradient = replay_backward(step, segments, state, loss_fn)
        return torch.stack(losses).sum(), gradient.content
    start, losses = state.content, []
    for index, segment in enumerate(segments):
        hidden, state = step(segment, state)
        losses.append(loss_fn(hidden, index))
    loss = torch.stack(losses).sum()
    loss.backward()
    assert start.grad is not None
    return loss, start.grad


@pytest.mark.golden
@pytest.mark.parametrize("replay", [False, True], ids=["bptt", "replay"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_through_all_segments_equal_the_official_ones(case: GoldenCase, replay: bool) -> None:
    encoder = official_encoder(case)
    loss, of_memory = back_propagate(encoder, case, replay=replay)
    case.assert_output("loss", loss)
    case.assert_output("grad.memory.0", of_memory)
    parameters = dict(encoder.named_parameters())
    for name in case.outputs.keys() - {"grad.memory.0"}:
        if name.startswith("grad."):
            official = {name.removeprefix("grad."): case.outputs[name]}
            ((ours, expected),) = convert_membart(official, position_offset=case.config["position_offset"]).items()
            assert parameters[ours].grad is not None
            assert_within(parameters[ours].grad, expected, tolerance=case.tolerance, name=name)


def test_a_closed_gate_keeps_the_normalized_slots_and_an_open_one_takes_new_ones(encoder: GatedSlotEncoder) -> None:
    state, x = used_state(encoder), torch.randn(2, 4, DIM)
    kept = encoder.slot_norm(state.content + encoder.bias)
    found: list[Tensor] = []
    encoder.gate.register_forward_pre_hook(lambda module, args: found.append(args[0]))
    for logit, expected in ((-1e4, lambda: kept), (1e4, lambda: found[-1])):
        set_gate(encoder, logit)
        assert_close(encoder(x, state)[1].content, expected(), atol=1e-6, rtol=0)


def test_a_slot_sees_itself_and_the_tokens_but_no_other_slot() -> None:
    encoder = build(num_layers=1)  # in a second layer slots hear of each other from the tokens
    state, x = used_state(encoder), torch.randn(2, 4, DIM)
    content = state.content.clone()
    content[:, 1] = -content[:, 1]
    before, after = encoder(x, state), encoder(x, replace(state, content=content))
    assert_close(after[1].content[:, ::2], before[1].content[:, ::2])
    assert (after[1].content[:, 1] - before[1].content[:, 1]).abs().amax() > 0.1
    assert not torch.allclose(after[0], before[0])  # tokens do see it


def test_every_token_reaches_every_slot_and_every_other_token(encoder: GatedSlotEncoder) -> None:
    x = torch.randn(1, 4, DIM)
    other = x.clone()
    other[:, 3] = -other[:, 3]
    before, after = encoder(x, encoder.init_state(1)), encoder(other, encoder.init_state(1))
    assert ((after[0] - before[0]).abs().amax(-1) > 1e-6).all()
    assert ((after[1].content - before[1].content).abs().amax(-1) > 1e-6).all()


def test_slots_start_distinct_and_stay_distinct_over_a_rollout() -> None:
    encoder = build(num_slots=6, dim=16)
    state = encoder.init_state(2)
    for _ in range(8):  # MemBART is trained on rollouts of five to eight segments
        _, state = encoder(torch.randn(2, 8, 16), state)
        assert (encoder.report(state).diversity or 0) > 0.5


def test_padding_may_hold_nan(encoder: GatedSlotEncoder) -> None:
    x, state = torch.randn(2, 4, DIM), used_state(encoder)
    padding = torch.tensor([[False, True, False, True]]).expand(2, -1)
    encoded, after = encoder(x, state, padding=padding)
    dirty, dirty_after = encoder(x.masked_fill(padding[..., None], math.nan), state, padding=padding)
    assert torch.equal(dirty[~padding], encoded[~padding])
    assert torch.equal(dirty_after.content, after.content)
    dirty.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in encoder.parameters())


def test_pauses_leave_rows_bit_identical(encoder: GatedSlotEncoder) -> None:
    state = used_state(encoder)
    _, after = encoder(torch.randn(2, 2, DIM), state, padding=torch.tensor([[True, True], [False, True]]))
    assert torch.equal(after.content[0], state.content[0])
    assert not torch.equal(after.content[1], state.content[1])
    assert after.count.tolist() == [1, 2]


def test_a_segment_without_tokens_changes_nothing(encoder: GatedSlotEncoder) -> None:
    state = used_state(encoder)
    encoded, after = encoder(torch.empty(2, 0, DIM), state)
    assert encoded.shape == (2, 0, DIM)
    assert torch.equal(after.content, state.content)
    assert torch.equal(after.count, state.count)


def test_nan_stays_in_its_row(encoder: GatedSlotEncoder) -> None:
    x = torch.randn(2, 4, DIM)
    x[0, 1] = math.nan
    encoded, state = encoder(x, used_state(encoder))
    assert state.content[0].isnan().any()
    assert state.content[1].isfinite().all()
    assert encoded[1].isfinite().all()


def test_the_report_counts_slots_and_segments(encoder: GatedSlotEncoder) -> None:
    assert encoder.report(encoder.init_state(2)).written == 0
    report = encoder.report(encoder(torch.randn(2, 4, DIM), used_state(encoder))[1])
    assert (report.written, report.capacity, report.age_max) == (6, 6, 1)
    assert report.bytes_per_row == 4 * OPTIONS["num_slots"] * DIM + 8


def test_a_closed_gate_does_not_round_slots_in_a_bfloat16_network() -> None:
    encoder = build().bfloat16()
    set_gate(encoder, -1e4)
    state = GatedSlotState(torch.randn(1, 3, DIM), torch.zeros(1).long())
    encoded, after = encoder(torch.randn(1, 4, DIM, dtype=torch.bfloat16), state)
    assert encoded.dtype == torch.bfloat16
    assert_close(after.content, encoder.slot_norm.float()(state.content + encoder.bias.float()))


def test_a_complete_checkpoint_gives_its_encoder() -> None:
    layer = {
        "model.encoder.layers.11.mem_fc1.weight": torch.zeros(1),
        "model.decoder.layers.0.fc1.weight": torch.ones(1),
    }
    tables = {
        "model.encoder.embed_tokens.weight": torch.ones(1),
        "model.encoder.embed_positions.weight": torch.ones(5, 2),
    }
    converted = convert_membart(layer | tables, prefix="model.encoder.")
    assert {name: weight.shape[0] for name, weight in converted.items()} == {
        "layers.11.slots.ffn.expand.weight": 1,
        "positions": 3,
    }


@pytest.mark.parametrize("name", ["model.encoder.memory_bias", "layers.0.mem_fc3.weight", "fc1.weight"])
def test_unknown_weights_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*give the prefix"):
        convert_membart({name: torch.zeros(1)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "divide dim, got dim=8, num_heads=3"),
        ({"num_slots": 0}, "num_slots must be at least 1, got 0"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_segment_that_is_too_long_is_refused(encoder: GatedSlotEncoder) -> None:
    with pytest.raises(ValueError, match="max_length=8 tokens, got 9"):
        encoder(torch.randn(1, 9, DIM), encoder.init_state(1))


def test_a_state_of_other_sizes_is_refused(encoder: GatedSlotEncoder) -> None:
    refused = (
        (encoder.init_state(1), "width 8 in 1 rows, got width 8 in 2 rows"),
        (build(num_slots=4).init_state(2), r"state with slots of shape \(2, 3, 8\)"),
    )
    for state, message in refused:
        with pytest.raises(ValueError, match=message):
            encoder(torch.randn(2, 4, DIM), state)


def test_a_checkpoint_may_hold_the_configuration() -> None:
    file = io.BytesIO()
    config = MemoryConfig("gated_slots", OPTIONS)
    torch.save(asdict(config), file)
    file.seek(0)
    assert MemoryConfig(**torch.load(file)) == config
