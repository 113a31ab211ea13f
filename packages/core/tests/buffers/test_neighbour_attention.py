"""Attention over the nearest stored pairs: the equations, parity with the official code, and the contract."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases, golden_folder
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.buffers.local_attention import DistanceBuckets
from mnemic_core.buffers.neighbour_attention import NeighbourAttention, NeighbourState
from mnemic_core.testing import CONTRACT, POLICY_RULES, unchecked_annotations

FOLDER = Path(__file__).parent.parent / "golden" / "core"
CASES = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith("kNN attention")]
DIM = 4

small = partial(
    NeighbourAttention,
    DIM,
    num_heads=2,
    capacity=6,
    window=3,
    k=2,
    buckets=DistanceBuckets(num_buckets=4, max_distance=8),
)
joint = partial(small, window=0, fusion="joint_softmax", shared_kv=True, buckets=None, output_gate=True)


def opened(build: Callable[..., NeighbourAttention], **options: object) -> NeighbourAttention:
    """A module whose every parameter matters: at its start the output gate hides all else."""
    torch.manual_seed(0)
    attention = build(**options)
    if attention.output_gate is not None:
        torch.nn.init.constant_(attention.output_gate, 0.7)
    return attention


@pytest.fixture
def attention() -> NeighbourAttention:
    return opened(small)


@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
@pytest.mark.parametrize("build", [small, joint], ids=["gate", "joint"])
def test_it_keeps_rule(build: Callable[..., NeighbourAttention], detach: str, rule: str) -> None:
    CONTRACT[rule](opened(build, detach=detach))


@pytest.mark.golden
def test_golden_cases_are_found() -> None:
    assert CASES or golden_folder("core", FOLDER) is None


@pytest.mark.golden
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_segments_equal_the_official_code(case: GoldenCase) -> None:
    sizes, bias = case.config, case.config["t5_bias"]
    total = sizes["segments"] * sizes["segment"]
    attention = NeighbourAttention.from_official(
        case.state,
        capacity=max(total, sizes["num_retrieved_memories"]),
        window=sizes["xl_max_memories"],
        k=sizes["num_retrieved_memories"],
        **({"max_distance": bias["max_distance"]} if bias else {}),
    )
    assert (attention.dim, attention.num_heads, attention.head_dim) == (sizes["dim"], sizes["heads"], sizes["dim_head"])
    assert (attention.output_gate is not None) == sizes["gate_output"]
    state = attention.init_state(sizes["batch"])
    for step in range(sizes["segments"]):
        x = case.inputs[f"x.{step}"]
        compare_neighbours(case, step, attention, x, state)
        if bias:
            compare_bias(case, step, attention)
        y, state = attention(x, state)
        case.assert_output(f"y.{step}", y)
        compare_memory(case, step, state, sizes["xl_max_memories"])


def compare_neighbours(
    case: GoldenCase, step: int, attention: NeighbourAttention, x: Tensor, state: NeighbourState
) -> None:
    found = attention.neighbours(x, state)
    valid = case.outputs[f"retrieved_mask.{step}"].bool()
    assert torch.equal(found.valid, valid)
    expected = case.outputs[f"retrieved_kv.{step}"]
    in_order = [by_first_number(pairs.where(valid[..., None, None], 0)) for pairs in (found.pairs, expected)]
    assert_close(*in_order, atol=case.tolerance, rtol=case.tolerance)


def by_first_number(pairs: Tensor) -> Tensor:
    """The same pairs in an order that does not depend on nearly equal scores."""
    order = pairs[..., 0, 0].argsort(dim=3)
    return pairs.gather(3, order[..., None, None].expand_as(pairs))


def compare_bias(case: GoldenCase, step: int, attention: NeighbourAttention) -> None:
    expected = case.outputs[f"bias.{step}"]
    query, key = (torch.arange(size) for size in expected.shape[2:])
    assert attention.bias is not None
    assert attention.bias.buckets.num_buckets == case.config["t5_bias"]["num_buckets"]
    case.assert_output(f"bias.{step}", attention.bias((query[:, None] - key)[None]))


def compare_memory(case: GoldenCase, step: int, state: NeighbourState, window: int) -> None:
    count = int(state.pairs.count[0])
    assert max(count - window, 0) == int(case.outputs[f"stored.{step}"])
    if f"xl_memory.{step}" in case.outputs:
        latest = state.pairs.ordered()[:, max(count - window, 0) : count]
        case.assert_output(f"xl_memory.{step}", latest.squeeze(3))


def one_by_one(attention: NeighbourAttention, segments: list[Tensor]) -> list[Tensor]:
    """The equations for one row, token by token and head by head."""
    outputs, keys, values = [], torch.empty(0, 2, 2), torch.empty(0, 2, 2)  # token head dim
    for segment in segments:
        query = F.normalize(attention.query(segment).view(-1, 2, 2), dim=-1)
        key, value = attention.key_value(segment).view(len(segment), 2, -1, 2).expand(-1, 2, 2, 2).unbind(1)
        before = len(keys)
        keys, values = torch.cat([keys, F.normalize(key, dim=-1)]), torch.cat([values, value])
        reach = max(before - attention.window, 0)  # tokens before this one are searched
        stored = slice(max(reach - attention.capacity, 0), reach)
        rows = [
            torch.cat(
                [
                    one_head(attention, head, query[i, head], keys[:, head], values[:, head], before + i, reach, stored)
                    for head in range(2)
                ]
            )
            for i in range(len(segment))
        ]
        outputs.append(attention.output(torch.stack(rows)))
    return outputs


def one_head(
    attention: NeighbourAttention,
    head: int,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    now: int,
    reach: int,
    stored: slice,
) -> Tensor:
    scale = attention.log_scale[head].exp()
    local = scale * keys[reach : now + 1] @ query
    if attention.bias is not None:
        distance = torch.arange(now - reach, -1, -1)
        local = local + attention.bias(distance[None, None])[0, head, 0]
    best = (keys[stored] @ query).argsort(descending=True)[: attention.k]
    far = scale * (keys[stored] @ query)[best]
    near_values, far_values = values[reach : now + 1], values[stored][best]
    if attention.gate is None:
        return torch.cat([far, local]).softmax(0) @ torch.cat([far_values, near_values])
    gate = attention.gate[head].sigmoid() if len(far) else 0
    return gate * far.softmax(0) @ far_values + (1 - gate) * local.softmax(0) @ near_values


@pytest.mark.parametrize(
    "options",
    [{}, {"fusion": "joint_softmax"}, {"shared_kv": True}, {"window": 0, "k": 4}],
    ids=["gate", "joint", "shared", "no-window"],
)
@torch.no_grad()
def test_segments_equal_the_equations_token_by_token(options: dict[str, object]) -> None:
    attention = opened(small, **options)
    if attention.gate is not None:
        attention.gate.copy_(torch.tensor([0.5, -1.0]))
    segments = list(torch.randn(5, 4, DIM))
    state = attention.init_state(1)
    for segment, expected in zip(segments, one_by_one(attention, segments), strict=True):
        y, state = attention(segment[None], state)
        assert_close(y[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padding_anywhere_is_as_if_it_were_not_there(attention: NeighbourAttention) -> None:
    state = padded_state = attention.init_state(1)
    padding = torch.tensor([[True, False, False, True, False, True]])
    for segment in torch.randn(4, 1, 3, DIM):
        padded = torch.full((1, 6, DIM), torch.nan)
        padded[~padding] = segment[0]
        expected, state = attention(segment, state)
        y, padded_state = attention(padded, padded_state, padding=padding)
        assert_close(y[~padding], expected[0])
    for name, tensor in state.tensors().items():
        assert_close(padded_state.tensors()[name], tensor)


def test_a_pair_is_searched_only_after_it_left_the_window_and_until_it_is_the_oldest_of_too_many() -> None:
    attention = opened(small, capacity=2, window=1, k=2)
    tokens, state = torch.randn(1, 5, DIM), attention.init_state(1)
    seen = []
    for time in range(5):
        found = attention.neighbours(tokens[:, :1], state)
        seen.append(sorted(state.pairs.age()[0, found.slot[0, 0, 0]][found.valid[0, 0, 0]].tolist()))
        _, state = attention(tokens[:, time : time + 1], state)
    assert seen == [[], [], [1], [1, 2], [1, 2]]


def test_a_stored_token_finds_itself_first(attention: NeighbourAttention) -> None:
    with torch.no_grad():
        attention.key_value.weight[:DIM] = attention.query.weight
    first = torch.randn(2, 4, DIM)
    _, state = attention(first, attention.init_state(2))
    _, state = attention(torch.randn(2, 3, DIM), state)
    found = attention.neighbours(first, state)
    assert torch.equal(found.slot[..., 0], torch.arange(4).expand(2, 2, 4))


def test_a_reset_row_finds_nothing(attention: NeighbourAttention) -> None:
    _, state = attention(torch.randn(2, 6, DIM), attention.init_state(2))
    state = attention.reset(state, torch.tensor([True, False]))
    valid = attention.neighbours(torch.randn(2, 1, DIM), state).valid
    assert not valid[0].any()
    assert valid[1].all()


def test_more_neighbours_than_stored_pairs_are_those_that_there_are() -> None:
    attention = opened(small, k=5)
    _, state = attention(torch.randn(1, 5, DIM), attention.init_state(1))
    assert attention.neighbours(torch.randn(1, 1, DIM), state).valid.sum(-1).unique().tolist() == [2]
    assert opened(small, k=99).k == 6


def test_a_closed_gate_leaves_local_attention_alone(attention: NeighbourAttention) -> None:
    alone = opened(small, backend=lambda query, keys, allowed, k: torch.full((*query.shape[:3], k), -1))
    torch.nn.init.constant_(attention.gate, -1e4)
    _, state = attention(torch.randn(2, 6, DIM), attention.init_state(2))
    x = torch.randn(2, 3, DIM)
    assert_close(attention(x, state)[0], alone(x, state)[0])


def test_read_weights_are_the_attention_on_carried_pairs(attention: NeighbourAttention) -> None:
    _, state = attention(torch.randn(2, 5, DIM), attention.init_state(2))
    query = torch.randn(2, 1, DIM)
    weights = attention.read_weights(query, state)
    assert not weights[~state.slots().valid[:, None]].any()
    near = attention._attend(query, state, None).near
    assert_close(weights.sum(-1), 1 - near[..., -1].mean(1))
    assert_close(attention.report(state, query).memory_mass, float(weights.sum(-1).mean()))
    assert attention.report(state).written == 10


def test_pairs_in_bfloat16_take_half_the_space_and_the_output_keeps_its_type(attention: NeighbourAttention) -> None:
    state = attention.init_state(1, dtype=torch.bfloat16)
    assert state.pairs.items.nbytes * 2 == attention.init_state(1).pairs.items.nbytes == 8 * 9 * 2 * 2
    x = torch.randn(1, 5, DIM)
    y, state = attention(x, state)
    assert (y.dtype, state.pairs.items.dtype) == (torch.float32, torch.bfloat16)
    assert attention.bfloat16()(x.bfloat16(), state)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("build", [small, joint])
def test_a_segment_without_tokens_or_of_padding_alone_changes_nothing(build: Callable[..., NeighbourAttention]) -> None:
    attention = opened(build)
    _, state = attention(torch.randn(2, 5, DIM), attention.init_state(2))
    y, same = attention(torch.empty(2, 0, DIM), state)
    assert y.shape == (2, 0, DIM)
    padded, still = attention(torch.full((2, 3, DIM), torch.nan), state, padding=torch.ones(2, 3, dtype=torch.bool))
    assert padded.isfinite().all()
    for name, tensor in state.tensors().items():
        assert torch.equal(same.tensors()[name], tensor)
        assert torch.equal(still.tensors()[name], tensor)


def test_a_missing_number_stays_in_its_row(attention: NeighbourAttention) -> None:
    state = attention.init_state(2)
    for _ in range(3):
        x = torch.randn(2, 4, DIM)
        x[0, 1] = torch.nan
        y, state = attention(x, state)
    assert y[0].isnan().any()
    assert y[1].isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "num_heads must divide dim, got dim=4, num_heads=3"),
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"window": -1}, "window must be at least 0, got -1"),
        ({"fusion": "sum"}, "fusion must be one of gate, joint_softmax, got 'sum'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        small(**options)


def test_a_state_or_segment_of_another_size_is_refused(attention: NeighbourAttention) -> None:
    with pytest.raises(ValueError, match="width 4 in 3 rows, got width 4 in 2 rows"):
        attention(torch.randn(2, 1, DIM), attention.init_state(3))
    with pytest.raises(ValueError, match="init_state"):
        attention(torch.randn(2, 1, DIM), joint().init_state(2))
    with pytest.raises(ValueError, match="width 4 in 2 rows, got width 5"):
        attention(torch.randn(2, 1, 5), attention.init_state(2))


@pytest.mark.golden
@pytest.mark.skipif(not CASES, reason="no cases in the replaced folder")
@pytest.mark.parametrize("change", [{"to_q.weight": None}, {"extra": torch.zeros(1)}], ids=["missing", "unknown"])
def test_official_weights_must_be_those_of_one_layer(change: dict[str, Tensor | None]) -> None:
    weights = {name: tensor for name, tensor in {**CASES[0].state, **change}.items() if tensor is not None}
    with pytest.raises(ValueError, match="cut off the prefix"):
        NeighbourAttention.from_official(weights, capacity=4, window=0, k=1)
