import math
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases, golden_folder
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.parametric import ProductKeyMemory, SlotUsage
from mnemic_core.parametric.product_key_memory import convert_official
from mnemic_core.testing import assert_close as assert_within
from mnemic_core.testing import unchecked_annotations

GOLDEN = Path(__file__).parent.parent / "golden" / "core"
CASES = [pytest.param(case, id=case.name) for case in golden_cases("core", GOLDEN, prefix="pkm_")]
DIM = 6


def small(**options: Any) -> ProductKeyMemory:
    torch.manual_seed(0)
    return ProductKeyMemory(DIM, **{"sub_keys": 8, "num_heads": 2, "k": 3, "key_dim": 4, **options})


def all_scores(memory: ProductKeyMemory, x: Tensor) -> Tensor:
    """The definition: the score of every slot, ``[token head slot]``."""
    first, second = memory.query(x).chunk(2, dim=-1)
    if memory.unit_query:
        first, second = (half / half.norm(dim=-1, keepdim=True) for half in (first, second))
    left = torch.einsum("thd,hnd->thn", first, memory.keys[:, 0])
    right = torch.einsum("thd,hnd->thn", second, memory.keys[:, 1])
    return (left[..., :, None] + right[..., None, :]).flatten(-2)


@pytest.mark.golden
def test_there_are_golden_cases() -> None:
    assert CASES or golden_folder("core", GOLDEN) is None  # a replaced folder may lack the subject


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_layer(case: GoldenCase) -> None:
    memory = ProductKeyMemory.from_official(case.config, case.state).eval()
    x = case.inputs["x"].requires_grad_()
    weights, slots = memory.select(x)
    case.assert_output("query", memory.query(x).reshape(case.outputs["query"].shape))
    case.assert_output("indices", slots.reshape(case.outputs["indices"].shape))
    case.assert_output("scores", weights.reshape(case.outputs["scores"].shape))
    y = memory(x)
    case.assert_output("y", y)
    (y * case.inputs["w_grad"]).sum().backward()
    assert x.grad is not None
    case.assert_output("grad_x", x.grad)
    gradients = {name[5:]: value for name, value in case.outputs.items() if name.startswith("grad.")}
    assert gradients.keys() == case.state.keys() - {name for name, _ in case.state.items() if _is_statistic(name)}
    for name, expected in convert_official(gradients).items():
        actual = memory.get_parameter(name).grad
        assert_within(actual, expected, tolerance=case.tolerance, name=f"{case.name}: gradient of {name}")


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


@pytest.mark.parametrize(
    ("sub_keys", "k"),
    [(32, 2), (16, 4), (9, 4), (5, 5), (7, 1), (1, 1)],
    ids=["groups of 4", "groups of 2", "no groups", "all sub-keys", "one slot", "one slot in all"],
)
def test_the_selected_slots_are_the_best_of_all(sub_keys: int, k: int) -> None:
    memory = small(sub_keys=sub_keys, k=k, unit_query=k == 4).double()
    x = torch.randn(50, DIM, dtype=torch.float64)
    best, slots = all_scores(memory, x).topk(k)
    weights, selected = memory.select(x)
    assert torch.equal(selected, slots)
    assert_close(weights, best.softmax(-1))


def test_output_is_the_sum_of_the_reads_of_all_heads() -> None:
    memory, x = small(out_dim=5, temperature=0.5), torch.randn(2, 3, DIM)
    weights, slots = memory.select(x)
    expected = torch.zeros(2, 3, 5)
    for index in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2), torch.arange(3)).tolist():
        row, time, head, rank = index
        expected[row, time] += weights[row, time, head, rank] * memory.values[slots[row, time, head, rank]]
    assert_close(memory(x), expected)


def test_gradients_are_those_of_reading_all_slots_and_masking_the_rest() -> None:
    memory, x = small().double(), torch.randn(4, DIM, dtype=torch.float64, requires_grad=True)
    scores = all_scores(memory, x)
    unread = torch.ones_like(scores, dtype=torch.bool).scatter(-1, scores.topk(memory.k).indices, False)
    expected = scores.masked_fill(unread, -torch.inf).softmax(-1).sum(1) @ memory.values
    leaves = [x, *memory.parameters()]
    for actual, wanted in zip(
        torch.autograd.grad(memory(x).square().sum(), leaves),
        torch.autograd.grad(expected.square().sum(), leaves),
        strict=True,
    ):
        assert_close(actual, wanted)


def test_sparse_value_gradients_equal_dense_ones() -> None:
    x = torch.randn(2, 3, DIM)
    gradients = []
    for sparse in (False, True):
        memory = small(sparse=sparse)
        memory(x).square().sum().backward()
        assert memory.values.grad.is_sparse is sparse
        gradients.append(memory.values.grad.to_dense())
    assert_close(*gradients)


def test_keys_do_not_depend_on_the_global_seed_and_no_two_sets_are_equal() -> None:
    torch.manual_seed(1)
    other = ProductKeyMemory(DIM, sub_keys=8, num_heads=2, k=3, key_dim=4)
    memory = small()
    assert torch.equal(memory.keys, other.keys)
    assert len(memory.keys.flatten(0, 1).unique(dim=0)) == 4
    assert memory.keys.abs().max() <= 2**-0.5


def test_param_groups_hold_every_parameter_once_with_its_rate() -> None:
    memory = small(query_norm="layer", query_hidden=[5])
    rest, values = memory.param_groups(10.0, lr=0.5)
    assert {id(p) for p in rest["params"] + values["params"]} == {id(p) for p in memory.parameters()}
    assert len(rest["params"] + values["params"]) == len(list(memory.parameters()))
    assert values["params"] == [memory.values]
    assert [group["lr"] for group in torch.optim.Adam([rest, values]).param_groups] == [0.5, 5.0]
    assert [group["lr_scale"] for group in memory.param_groups(10.0)] == [1.0, 10.0]
    with pytest.raises(ValueError, match="lr_scale must be above 0, got 0"):
        memory.param_groups(0.0)


def test_usage_counts_the_slots_that_are_read() -> None:
    memory, x = small(), torch.randn(2, 5, DIM)
    _, slots = memory.select(x)
    usage = memory.usage(x)
    assert usage.coverage == len(slots.unique()) / 64
    assert_close(usage.mass.sum(), torch.tensor(2 * 5 * 2.0))
    apart = memory.usage(x[:1]) + memory.usage(x[1:])
    assert_close(apart.mass, usage.mass)
    assert usage.as_dict() == {"coverage": usage.coverage, "kl_from_uniform": usage.kl_from_uniform}


def test_divergence_is_zero_for_equal_use_and_largest_for_a_single_slot() -> None:
    assert SlotUsage(torch.full((16,), 0.3)).kl_from_uniform == pytest.approx(0, abs=1e-6)
    assert SlotUsage(torch.eye(16)[3]).kl_from_uniform == pytest.approx(math.log(16))
    assert math.isnan(SlotUsage(torch.zeros(16)).kl_from_uniform)


@pytest.mark.parametrize(("norm", "is_independent"), [(None, True), ("layer", True), ("batch", False)])
def test_only_batch_normalization_mixes_rows(norm: Any, is_independent: bool) -> None:
    memory, x = small(query_norm=norm, query_hidden=[5]), torch.randn(3, 4, DIM)
    alone = memory(x[:1])
    assert torch.allclose(memory(x)[:1], alone, atol=1e-6) is is_independent
    memory.eval()
    assert_close(memory(x)[:1], memory(x[:1]))


def test_missing_values_stay_in_their_row() -> None:
    memory, x = small(), torch.randn(3, 2, DIM)
    expected = memory(x)
    x[1] = torch.nan
    recalled = memory(x)
    assert recalled[1].isnan().all()
    assert_close(recalled[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0,)], ids=str)
def test_no_tokens_recall_nothing(shape: tuple[int, ...]) -> None:
    assert small()(torch.zeros(*shape, DIM)).shape == (*shape, DIM)


def test_half_precision_selects_by_sums_in_single_precision() -> None:
    memory, x = small(sub_keys=16).bfloat16(), torch.randn(2, 9, DIM, dtype=torch.bfloat16)
    recalled = memory(x)
    recalled.sum().backward()
    assert recalled.dtype == torch.bfloat16
    assert memory.values.grad.dtype == torch.bfloat16
    assert memory.select(x)[0].dtype == torch.float32


def test_one_compiled_graph_computes_every_batch_of_a_shape() -> None:
    memory = small(sub_keys=16)
    torch.compiler.reset()
    compiled = torch.compile(memory, fullgraph=True, backend="eager")
    for step in range(3):
        x = torch.randn(2, 5, DIM)
        with unchecked_annotations(), torch._dynamo.config.patch(error_on_recompile=step > 0):
            assert_close(compiled(x), memory(x))


def test_the_layer_can_be_exported() -> None:
    memory, x = small(sub_keys=16), torch.randn(2, 5, DIM)
    program = torch.export.export(memory, (x,)).module()
    other = torch.randn(2, 5, DIM)
    assert_close(program(other), memory(other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 9}, "k must be at most sub_keys, got k=9, sub_keys=8"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"key_dim": 5}, "key_dim must be even and at least 2, .* got 5"),
        ({"query_norm": "group"}, "query_norm must be one of batch, layer or None, got 'group'"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"out_dim": 0}, "out_dim must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        small(**options)


def test_official_options_and_weights_that_are_unknown_are_refused() -> None:
    with pytest.raises(ValueError, match="mem_modulo_size=7 is not supported, only -1"):
        ProductKeyMemory.from_official({"mem_modulo_size": 7}, {})
    with pytest.raises(ValueError, match="mem_query_layer_sizes must have at least two entries"):
        ProductKeyMemory.from_official({"mem_query_layer_sizes": []}, {})
    with pytest.raises(ValueError, match=r"unknown weight 'head_permutations'"):
        convert_official({"head_permutations": torch.zeros(1)})


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("query_proj.query_mlps.0.weight", "query_network.0.weight"),
        ("query_proj.query_mlps.1.running_mean", "query_network.1.running_mean"),
        ("query_proj.query_mlps.0.0.bias", "query_network.0.bias"),
        ("query_proj.query_mlps.0.3.weight", "query_network.3.weight"),
        ("values.weight", "values"),
    ],
)
def test_official_names_of_shallow_and_deep_query_networks_are_converted(official: str, ours: str) -> None:
    assert list(convert_official({official: torch.zeros(1)})) == [ours]
