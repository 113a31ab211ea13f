import re
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases, golden_folder
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.parametric import PersistentAttention, PersistentKeyValues
from mnemic_core.testing import assert_close as assert_within
from mnemic_core.testing import unchecked_annotations

GOLDEN = Path(__file__).parent.parent / "golden" / "memmc_mae"
FILES = golden_cases("memmc_mae", GOLDEN, prefix="memory_attention")
CASES = [pytest.param(file, sizes, id=f"{file.name}-{sizes['case']}") for file in FILES for sizes in file.info["cases"]]
NAMES = {"mem_k": "memory.keys", "mem_v": "memory.values"} | {
    f"{kind}{letter}": f"attention.{layer}.{name}"
    for letter, layer in {"q": "query", "k": "key", "v": "value", "o": "output"}.items()
    for kind, name in {"w": "weight", "b": "bias"}.items()
}
DIM, HEADS, SLOTS = 8, 2, 3


def attention(**options: Any) -> PersistentAttention:
    torch.manual_seed(0)
    return PersistentAttention(DIM, num_heads=HEADS, **{"num_slots": SLOTS, **options})


def of_case(tensors: dict[str, Tensor], letter: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{letter}."): value for name, value in tensors.items() if name.startswith(f"{letter}.")}


@pytest.mark.golden
def test_there_are_golden_cases() -> None:
    assert CASES or golden_folder("memmc_mae", GOLDEN) is None  # a replaced folder may lack the subject


@pytest.mark.golden
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize(("file", "sizes"), CASES)
def test_equals_the_equations_in_double_precision(file: GoldenCase, sizes: dict[str, Any], scaled: bool) -> None:
    layer = PersistentAttention(
        sizes["dim"], num_heads=sizes["heads"], num_slots=sizes["memory_slots"], scaled=scaled
    ).double()
    state = of_case(file.state, sizes["case"])
    layer.load_state_dict({NAMES[name]: tensor for name, tensor in state.items()})
    x, expected = file.inputs[f"{sizes['case']}.x"], of_case(file.outputs, sizes["case"])
    stated = re.search(r"float64: ([\d.e-]+)", str(file.info["tolerance"]))
    tolerance = float(stated[1]) if stated else file.tolerance
    found = {"y": layer(x), "attn": layer.weights(x)}
    if scaled:
        found = {f"{name}_scaled": tensor for name, tensor in found.items()}
    else:
        found["mem_mass"] = layer.memory_mass(x)
    for name, actual in found.items():
        assert_within(actual, expected[name], tolerance=tolerance, name=f"{file.name} {sizes['case']}: {name}")


@pytest.mark.parametrize("is_causal", [False, True])
def test_without_slots_it_is_plain_attention_bit_for_bit(is_causal: bool) -> None:
    layer, x = attention(num_slots=0), torch.randn(2, 5, DIM)
    query, key, value = (
        part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in (layer.attention.query, layer.attention.key, layer.attention.value)
    )
    allowed = torch.ones(5, 5, dtype=torch.bool).tril() if is_causal else None
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    assert torch.equal(layer(x, is_causal=is_causal), layer.attention.output(plain.transpose(1, 2).flatten(2)))


def test_folding_the_factors_changes_nothing() -> None:
    memory = PersistentKeyValues(HEADS, 4, SLOTS)
    tokens = torch.randn(2, HEADS, 5, 4), torch.randn(2, HEADS, 5, 4)
    folded = memory.folded()
    assert not folded.scaled
    for actual, expected in zip(folded(*tokens), memory(*tokens), strict=True):
        assert torch.equal(actual, expected)
    for actual, expected in zip(folded.folded()(*tokens), memory(*tokens), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("is_causal", [False, True])
def test_weights_are_those_that_attention_uses(is_causal: bool) -> None:
    layer, x = attention(), torch.randn(2, 5, DIM)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    weights = layer.weights(x, padding=padding, is_causal=is_causal)
    value = layer.attention.value(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
    _, value = layer.memory(value, value)
    expected = layer.attention.output((weights @ value).transpose(1, 2).flatten(2))
    assert_close(layer(x, padding=padding, is_causal=is_causal)[~padding], expected[~padding])


def test_padding_changes_nothing() -> None:
    layer, x = attention(), torch.randn(2, 5, DIM)
    padded = torch.cat([x, torch.full((2, 3, DIM), 1e4)], dim=1)
    padding = (torch.arange(8) >= 5).expand(2, -1)
    assert_close(layer(padded, padding=padding)[:, :5], layer(x))
    assert_close(layer.memory_mass(padded, padding=padding)[..., :5], layer.memory_mass(x))


def test_causal_tokens_see_the_slots_but_not_the_future() -> None:
    layer, x = attention(), torch.randn(1, 5, DIM)
    weights = layer.weights(x, is_causal=True)
    assert not weights[..., :5].triu(1).any()
    assert (weights[..., 5:] > 0).all()
    assert_close(layer(x, is_causal=True)[:, :3], layer(x[:, :3], is_causal=True))


def test_nothing_may_be_seen_without_becoming_nan() -> None:
    layer, x = attention(num_slots=0), torch.randn(1, 3, DIM)
    padding = torch.ones(1, 3, dtype=torch.bool)
    assert layer(x, padding=padding).isfinite().all()
    assert layer.weights(x, padding=padding).isfinite().all()


def test_both_forms_start_with_slots_of_the_same_size() -> None:
    zeros = torch.zeros(1, 4, 0, 16)
    for scaled in (False, True):
        keys, values = PersistentKeyValues(4, 16, 500, scaled=scaled)(zeros, zeros)
        assert keys.std().item() == pytest.approx(16**-0.5, rel=0.05)
        assert values.std().item() == pytest.approx(500**-0.5, rel=0.05)


def test_param_groups_set_the_slots_apart() -> None:
    layer = attention()
    rest, slots = layer.param_groups(3.0, lr=0.5)
    assert slots == {"params": [layer.memory.keys, layer.memory.values], "lr": 1.5}
    assert len(rest["params"]) + 2 == len(list(layer.parameters()))


def test_half_precision_and_empty_segments_pass() -> None:
    layer = attention().bfloat16()
    assert layer(torch.randn(1, 4, DIM, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert attention()(torch.zeros(2, 0, DIM)).shape == (2, 0, DIM)


def test_one_compiled_graph_computes_every_batch_of_a_shape_and_can_be_exported() -> None:
    layer, padding = attention(), torch.zeros(2, 5, dtype=torch.bool)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    program = torch.export.export(layer, (torch.randn(2, 5, DIM),), {"padding": padding}).module()
    for step in range(3):
        x = torch.randn(2, 5, DIM)
        with unchecked_annotations(), torch._dynamo.config.patch(error_on_recompile=step > 0):
            assert_close(compiled(x, padding=padding), layer(x, padding=padding))
        assert_close(program(x, padding=padding), layer(x, padding=padding))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads must divide dim, got dim=8, num_heads=3"):
        PersistentAttention(8, num_heads=3)
    with pytest.raises(ValueError, match="num_slots must be at least 0, got -1"):
        PersistentKeyValues(2, 4, -1)
