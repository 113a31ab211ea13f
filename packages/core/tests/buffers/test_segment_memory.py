import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases, golden_folder
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core import SegmentMemory
from mnemic_core.buffers.relative_attention import RelativeAttention, relative_shift, relative_sinusoids
from mnemic_core.buffers.segment_memory import (
    RelativeSegmentAttention,
    SegmentMemoryStack,
    SegmentState,
    convert_transformer_xl,
)
from mnemic_core.buffers.window_memory import WindowMemory
from mnemic_core.testing import CONTRACT, unchecked_annotations
from mnemic_core.training import run_segments

DIM = 4
FOLDER = Path(__file__).parent.parent / "golden" / "core"
CASES = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith("Transformer-XL")]

attention = partial(RelativeSegmentAttention, DIM, capacity=3, num_heads=2)
stack = partial(SegmentMemoryStack, DIM, memory_lengths=(3, 0, 2), num_heads=2)
# What differs from the entries of the catalogue, which `test_contract` puts under the same rules.
VARIANTS = {
    "attention-never": partial(attention, same_length=True, clamp=2, pre_norm=True, detach="never"),
    "stack-never": partial(stack, pre_norm=True, tie_biases=False, detach="never"),
}


@pytest.mark.parametrize("rule", CONTRACT.values(), ids=CONTRACT.keys())
@pytest.mark.parametrize("build", VARIANTS.values(), ids=VARIANTS.keys())
def test_memory_keeps_rule(build: Callable[[], SegmentMemory], rule: Callable[[SegmentMemory], None]) -> None:
    torch.manual_seed(0)
    rule(build())


def official_outputs(case: GoldenCase, model: SegmentMemoryStack) -> dict[str, Tensor]:
    """Run every segment of a case and name what comes out as the official model does, time first."""
    config, outputs, state = case.config, {}, model.init_state(case.config["batch"])
    attended: list[Tensor] = []
    for layer in model.layers:
        layer.attention_norm.register_forward_hook(lambda _, __, output: attended.append(output))
    hidden: list[Tensor] = []
    for segment in range(sum(name.startswith("tokens.") for name in case.inputs)):
        tokens, targets = (case.inputs[f"{name}.{segment}"].T for name in ("tokens", "targets"))
        embedded = F.embedding(tokens, case.state["word_emb.emb_layers.0.weight"]) * config["d_model"] ** 0.5
        y, state = model(embedded, state)
        hidden.append(y)
        logits = F.linear(y, case.state["crit.out_layers.0.weight"], case.state["crit.out_layers.0.bias"])
        outputs[f"hidden.{segment}"] = y
        outputs[f"loss.{segment}"] = F.cross_entropy(logits.mT, targets, reduction="none")
        outputs |= {f"attn.{segment}.{index}": found for index, found in enumerate(attended)}
        attended.clear()
        if config["mem_len"]:
            remembered = [layer.hidden[:, config["mem_len"] - int(layer.count[0]) :] for layer in state]
            # The official last memory holds outputs that no layer reads; the stack does not keep them.
            remembered.append(torch.cat(hidden, dim=1)[:, -config["mem_len"] :])
            outputs |= {f"mems.{segment}.{index}": found for index, found in enumerate(remembered)}
    return {name: tensor.transpose(0, 1) for name, tensor in outputs.items()}


@pytest.mark.golden
@torch.no_grad()
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_stack_equals_the_official_model(case: GoldenCase) -> None:
    config = case.config
    model = SegmentMemoryStack(
        config["d_model"],
        memory_lengths=(config["mem_len"],) * config["n_layer"],
        num_heads=config["n_head"],
        head_dim=config["d_head"],
        ffn_dim=config["d_inner"],
        clamp=config["clamp_len"] if config["clamp_len"] > 0 else None,
        same_length=config["same_length"],
        pre_norm=config["pre_lnorm"],
        tie_biases="r_w_bias" in case.state,
        dropout=float(config["dropout"]),
    ).eval()
    model.load_state_dict(convert_transformer_xl(case.state, pre_norm=config["pre_lnorm"]))
    actual = official_outputs(case, model)
    assert actual.keys() == case.outputs.keys()
    for name, tensor in actual.items():
        case.assert_output(name, tensor)


@pytest.mark.golden
def test_golden_cases_are_found() -> None:
    assert CASES or golden_folder("core", FOLDER) is None


def from_the_equation(module: RelativeSegmentAttention, memory: Tensor, segment: Tensor) -> Tensor:
    """Section 3.3 of the paper for one row, one score at a time."""
    layer, past = module.attention, len(memory)
    heads = (layer.num_heads, layer.head_dim)
    tokens = layer.norm(torch.cat([memory, segment]))
    query = layer.query(tokens).unflatten(-1, heads)
    key, value = (part.unflatten(-1, heads) for part in layer.key_value(tokens).chunk(2, dim=-1))
    (u, w), outputs = module.biases, []
    for i in range(past, len(tokens)):
        seen = [j for j in range(i + 1) if layer.window is None or i - j < layer.window]
        scores = []
        for j in seen:
            distance = i - j if layer.clamp is None else min(i - j, layer.clamp)
            angles = [distance / 10_000 ** (2 * n / DIM) for n in range(DIM // 2)]
            encoded = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=tokens.dtype)
            r = layer.position(encoded).view(heads)
            scores.append((((query[i] + u) * key[j]).sum(-1) + ((query[i] + w) * r).sum(-1)) / math.sqrt(heads[1]))
        weights = torch.stack(scores).softmax(0)[..., None]
        outputs.append(layer.output((weights * value[seen]).sum(0).flatten()))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    "options",
    [{}, {"head_dim": 3}, {"clamp": 2}, {"same_length": True}, {"pre_norm": True}, {"capacity": 0}],
    ids=str,
)
def test_attention_is_the_equation_for_any_memory_of_a_row(options: dict[str, object]) -> None:
    module = attention(**options).double()
    past, segment = torch.randn(3, 5, DIM).double(), torch.randn(3, 4, DIM).double()
    in_memory = torch.tensor([0, 2, 5])
    padding = torch.arange(5) >= in_memory[:, None]
    _, state = module(past, module.init_state(3, dtype=torch.float64), padding=padding)
    output, _ = module(segment, state)
    for row, count in enumerate(in_memory.tolist()):
        memory = past[row, max(count - module.capacity, 0) : count]
        assert_close(output[row], from_the_equation(module, memory, segment[row]))


@pytest.mark.parametrize(("query", "key"), [(1, 1), (1, 4), (3, 3), (3, 7)])
def test_shift_gives_each_key_the_score_of_its_distance(query: int, key: int) -> None:
    by_distance = torch.arange(key - 1, -2, -1).expand(2, query, -1)
    distance = torch.arange(query)[:, None] + key - query - torch.arange(key)
    is_past = distance >= 0
    assert torch.equal(relative_shift(by_distance)[:, is_past], distance[is_past].expand(2, -1))


def test_sinusoids_far_away_keep_neighbours_apart_in_half_precision() -> None:
    layer = RelativeAttention(DIM, num_heads=1).bfloat16()
    far = layer._positions(1600, torch.zeros(1, dtype=torch.bfloat16))[0, :2]
    assert torch.equal(far, layer.position(relative_sinusoids(torch.tensor([1599.0, 1598.0]), DIM).bfloat16()))
    assert not torch.equal(far[0], far[1])


@pytest.mark.parametrize("lengths", [[6], [4, 2], [1, 1, 1, 3], [0, 5, 1]], ids=str)
@pytest.mark.parametrize(
    "module", [attention(capacity=6), stack(memory_lengths=(6, 8)), stack(memory_lengths=(7, 6), pre_norm=True)]
)
def test_segments_with_enough_memory_equal_one_shot(module: SegmentMemory, lengths: list[int]) -> None:
    x = torch.randn(2, 6, DIM)
    whole, whole_state = module(x, module.init_state(2))
    outputs, state = [], module.init_state(2)
    for segment in x.split(lengths, dim=1):
        output, state = module(segment, state)
        outputs.append(output)
    assert_close(torch.cat(outputs, dim=1), whole, atol=1e-5, rtol=1e-5)
    assert_close(state.tensors(), whole_state.tensors(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("module", [attention(), stack()], ids=["attention", "stack"])
def test_padding_anywhere_equals_leaving_the_tokens_out(module: SegmentMemory) -> None:
    x = torch.randn(1, 7, DIM)
    padding = torch.tensor([[True, False, False, True, False, True, False]])
    kept = ~padding[0]
    _, state = module(torch.randn(1, 2, DIM), module.init_state(1))
    expected, expected_state = module(x[:, kept], state)
    output, after = module(x.masked_fill(padding[..., None], torch.nan), state, padding=padding)
    assert_close(output[:, kept], expected)
    assert output.isfinite().all()
    assert_close(after.tensors(), expected_state.tensors())


@pytest.mark.parametrize("module", [attention(), stack()], ids=["attention", "stack"])
@pytest.mark.parametrize("time", [0, 2])
def test_a_segment_without_tokens_leaves_the_state_as_it_was(module: SegmentMemory, time: int) -> None:
    _, state = module(torch.randn(2, 2, DIM), module.init_state(2))
    output, after = module(torch.randn(2, time, DIM), state, padding=torch.ones(2, time, dtype=torch.bool))
    assert output.shape == (2, time, DIM)
    assert all(torch.equal(after.tensors()[name], tensor) for name, tensor in state.tensors().items())


@pytest.mark.parametrize("module", [attention(), stack()], ids=["attention", "stack"])
def test_nan_stays_in_its_row_and_leaves_with_a_reset(module: SegmentMemory) -> None:
    x = torch.randn(2, 2, DIM)
    x[0, 0] = torch.nan
    output, state = module(x, module.init_state(2))
    again, state = module(torch.randn(2, 2, DIM), state)
    assert torch.cat([output, again])[1::2].isfinite().all()
    assert again[0].isnan().all()
    assert module(torch.randn(2, 2, DIM), state, reset=torch.tensor([True, False]))[0].isfinite().all()


@pytest.mark.parametrize("build", [attention, stack], ids=["attention", "stack"])
def test_stored_values_have_gradients_only_without_detach(build: Callable[..., SegmentMemory]) -> None:
    for detach, carries in (("stored", False), ("never", True)):
        module, first = build(detach=detach), torch.randn(1, 2, DIM, requires_grad=True)
        output, state = module(first, module.init_state(1))
        assert output.requires_grad
        assert all(tensor.requires_grad is carries for tensor in state.tensors().values() if tensor.is_floating_point())


def test_a_layers_memory_length_changes_the_bytes_of_that_layer_only() -> None:
    lengths, longer = (2, 0, 3), (2, 5, 3)
    sizes = []
    for each in (lengths, longer):
        module = stack(memory_lengths=each)
        sizes.append([layer.nbytes for layer in module.init_state(2)])
        assert sum(sizes[-1]) == module.init_state(2).nbytes
    assert sizes[0] == [2 * (4 * length * DIM + 8) for length in lengths]
    assert [before == after for before, after in zip(*sizes, strict=True)] == [True, False, True]


@pytest.mark.parametrize("lengths", [(3, 3), (2, 0, 4)], ids=str)
def test_output_reaches_as_far_as_all_memories_together(lengths: tuple[int, ...]) -> None:
    module, reach = stack(memory_lengths=lengths), sum(lengths)
    x = torch.randn(1, reach + 3, DIM)
    changed = x.clone()
    changed[:, 0] = torch.randn(DIM)
    first, second = (run_segments(module, each.split(1, dim=1), module.init_state(1))[0] for each in (x, changed))
    differs = [not torch.equal(one, other) for one, other in zip(first, second, strict=True)]
    assert differs == [time <= reach for time in range(len(first))]


def test_with_same_length_every_token_sees_as_many_tokens_as_are_remembered() -> None:
    module = attention(same_length=True)
    past, segment = torch.randn(1, 3, DIM), torch.randn(1, 4, DIM)
    _, state = module(past, module.init_state(1))
    for distance in range(5):
        changed = torch.cat([past, segment], dim=1)
        changed[:, 6 - distance] += 1
        _, other = module(changed[:, :3], module.init_state(1))
        is_seen = not torch.equal(module(changed[:, 3:], other)[0][:, -1], module(segment, state)[0][:, -1])
        assert is_seen is (distance < module.capacity)


def test_tied_biases_equal_untied_ones_of_the_same_value() -> None:
    tied, untied = stack(), stack(tie_biases=False)
    untied.load_state_dict(tied.state_dict() | {"biases": tied.biases.expand_as(untied.biases)})
    x = torch.randn(2, 5, DIM)
    assert torch.equal(tied(x, tied.init_state(2))[0], untied(x, untied.init_state(2))[0])


@pytest.mark.parametrize("pre_norm", [False, True])
def test_official_weights_with_biases_in_each_layer_fit_a_stack(pre_norm: bool) -> None:
    module = stack(memory_lengths=(2, 1), tie_biases=False, pre_norm=pre_norm)
    biases = torch.randn_like(module.biases)
    official = {}
    for layer, (u, w) in enumerate(biases):
        shapes = {"dec_attn.qkv_net.weight": (3 * DIM, DIM), "dec_attn.r_w_bias": u, "dec_attn.r_r_bias": w}
        shapes |= {f"dec_attn.{name}_net.weight": (DIM, DIM) for name in "or"}
        shapes |= {"pos_ff.CoreNet.0.weight": (4 * DIM, DIM), "pos_ff.CoreNet.0.bias": (4 * DIM,)}
        shapes |= {"pos_ff.CoreNet.3.weight": (DIM, 4 * DIM), "pos_ff.CoreNet.3.bias": (DIM,)}
        shapes |= {
            f"{part}.layer_norm.{kind}": (DIM,) for part in ("dec_attn", "pos_ff") for kind in ("weight", "bias")
        }
        official |= {
            f"layers.{layer}.{name}": shape if isinstance(shape, Tensor) else torch.randn(shape)
            for name, shape in shapes.items()
        }
    module.load_state_dict(convert_transformer_xl(official, pre_norm=pre_norm))
    assert torch.equal(module.biases, biases)


def test_the_memory_follows_its_own_type_and_the_output_that_of_the_tokens() -> None:
    module = stack().bfloat16()
    x = torch.randn(1, 2, DIM, dtype=torch.bfloat16)
    for dtype in (torch.float32, torch.bfloat16):
        output, state = module(x, module.init_state(1, dtype=dtype))
        assert output.dtype == torch.bfloat16
        assert all(layer.hidden.dtype == dtype for layer in state)


def test_the_report_counts_the_slots_of_all_layers() -> None:
    module = stack()
    _, state = module(torch.randn(1, 2, DIM), module.init_state(1))
    report = module.report(state)
    assert (report.written, report.capacity, report.age_max) == (4, 5, 1)


def test_a_state_that_does_not_fit_is_refused() -> None:
    module, x = attention(), torch.randn(2, 1, DIM)
    with unchecked_annotations():
        with pytest.raises(TypeError, match="works with a SegmentState, got a RingBuffer"):
            module(x, WindowMemory(DIM).init_state(2))
        with pytest.raises(TypeError, match="works with a LayerStates, got a SegmentState"):
            stack()(x, module.init_state(2))
        with pytest.raises(ValueError, match="expected states of 3 layers, got 1"):
            stack()(x, stack(memory_lengths=(3,)).init_state(2))
        with pytest.raises(ValueError, match=r"hidden states of shape \(\d, 0, 4\), got \(\d, 1, 4\)"):
            stack()(x, stack(memory_lengths=(3, 1, 2)).init_state(2))
        with pytest.raises(ValueError, match=r"width 4 in 3 rows, got width 4 in 2 rows"):
            module(x, module.init_state(3))
        with pytest.raises(ValueError, match=r"hidden states of shape \(\d, 3, 4\), got \(\d, 5, 4\)"):
            module(x, attention(capacity=5).init_state(2))
        with pytest.raises(ValueError, match=r"tokens of width 4 in 2 rows, got width 6"):
            module(torch.randn(2, 1, 6), module.init_state(2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(attention, capacity=-1), "capacity must be at least 0, got -1"),
        (partial(attention, num_heads=3), "num_heads must divide dim, got dim=4, num_heads=3"),
        (partial(attention, head_dim=0), "head_dim must be at least 1, got 0"),
        (partial(attention, clamp=0), "clamp must be at least 1, got 0; use None"),
        (partial(attention, capacity=0, same_length=True), "window must be at least 1, got 0"),
        (partial(RelativeSegmentAttention, 3, num_heads=1), "dim must be even, half sines and half cosines, got 3"),
        (partial(stack, memory_lengths=()), "a length of at least 0 for each layer"),
        (partial(stack, memory_lengths=(2, -1)), "a length of at least 0 for each layer"),
        (
            partial(convert_transformer_xl, {"layers.0.dec_attn.r_emb.weight": torch.zeros(1)}),
            "only models of attn_type 0 can be loaded",
        ),
    ],
)
def test_impossible_options_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_slots_show_how_old_each_entry_is() -> None:
    state = SegmentState(torch.randn(2, 3, DIM), torch.tensor([0, 2])).append(torch.randn(2, 1, DIM))
    assert state.slots().age.tolist() == [[-1, -1, 0], [2, 1, 0]]
