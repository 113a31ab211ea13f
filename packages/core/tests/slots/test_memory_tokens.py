import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core.slots.memory_tokens import MemoryTokens, MemoryTokenWrapper
from mnemic_core.slots.model_adapter import HostModel, ModelAdapter
from mnemic_core.testing import CONTRACT, POLICY_RULES
from mnemic_core.training import run_segments, split_segments

DIM, TOKENS = 4, 2


class Tiny(nn.Module):
    """One attention layer with learned positions, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.projection = nn.Linear(DIM, 3 * DIM)
        self.position = nn.Embedding(16, DIM)


def run(model: Tiny, embeds: Tensor, padding: Tensor | None, positions: Tensor) -> Tensor:
    x = embeds + model.position(positions)
    query, key, value = model.projection(x).chunk(3, dim=-1)
    allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    allowed = allowed.tril() if model.causal else allowed
    if padding is not None:
        allowed = allowed & ~padding[:, None]
    logits = (query @ key.mT).masked_fill(~allowed, torch.finfo(x.dtype).min)
    return x + logits.softmax(-1) @ value


def build(causal: bool, detach: str = "never") -> MemoryTokenWrapper:
    torch.manual_seed(0)
    adapter = ModelAdapter(run)
    return MemoryTokenWrapper(
        DIM, host=HostModel(Tiny(causal), adapter), num_tokens=TOKENS, causal=causal, initial_std=1.0, detach=detach
    )


@pytest.fixture(params=[True, False], ids=["causal", "encoder"])
def wrapper(request: pytest.FixtureRequest) -> MemoryTokenWrapper:
    return build(request.param)


@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "encoder"])
def test_memory_tokens_keep_rule(causal: bool, detach: str, rule: str) -> None:
    CONTRACT[rule](build(causal, detach))


def positions_of(embeds: Tensor) -> Tensor:
    return torch.arange(embeds.shape[1]).expand(embeds.shape[:2])


def test_a_causal_segment_is_between_read_and_written_tokens() -> None:
    wrapper, x = build(causal=True), torch.randn(3, 5, DIM)
    state = MemoryTokens(torch.randn(3, TOKENS, DIM), torch.zeros(3, dtype=torch.long))
    embeds = torch.cat([state.memory, x, state.memory], dim=1)
    hidden = run(wrapper.model, embeds, None, positions_of(embeds))
    y, after = wrapper(x, state)
    assert_close(y, hidden[:, TOKENS:-TOKENS])
    assert_close(after.memory, hidden[:, -TOKENS:])
    assert after.count.tolist() == [1, 1, 1]


def test_an_encoder_reads_and_writes_the_same_tokens() -> None:
    wrapper, x = build(causal=False), torch.randn(3, 5, DIM)
    state = wrapper.init_state(3)
    embeds = torch.cat([state.memory, x], dim=1)
    hidden = run(wrapper.model, embeds, None, positions_of(embeds))
    y, after = wrapper(x, state)
    assert_close(y, hidden[:, TOKENS:])
    assert_close(after.memory, hidden[:, :TOKENS])


def test_a_short_segment_may_stand_at_either_end(wrapper: MemoryTokenWrapper) -> None:
    x, state = torch.randn(2, 3, DIM), wrapper.init_state(2)
    expected, expected_state = wrapper(x, state)
    for align, tokens in (("left", slice(0, 3)), ("right", slice(2, 5))):
        segments, paddings = split_segments(x, 5, align=align)
        outputs, after = run_segments(wrapper, segments, state, paddings=paddings)
        assert_close(outputs[0][:, tokens], expected)
        assert_close(after.memory, expected_state.memory)


def test_a_row_of_padding_keeps_its_memory(wrapper: MemoryTokenWrapper) -> None:
    _, state = wrapper(torch.randn(2, 3, DIM), wrapper.init_state(2))
    x, padding = torch.randn(2, 3, DIM), torch.tensor([[True] * 3, [False] * 3])
    x[0] = torch.nan
    _, after = wrapper(x, state, padding=padding)
    assert torch.equal(after.memory[0], state.memory[0])
    assert after.count.tolist() == [1, 2]
    assert after.memory.isfinite().all()


def test_a_segment_without_tokens_changes_nothing(wrapper: MemoryTokenWrapper) -> None:
    state = wrapper.init_state(2)
    y, after = wrapper(torch.zeros(2, 0, DIM), state)
    assert y.shape == (2, 0, DIM)
    assert after is state


def test_nan_stays_in_its_row(wrapper: MemoryTokenWrapper) -> None:
    x = torch.randn(2, 3, DIM)
    x[0, 1] = torch.nan
    y, after = wrapper(x, wrapper.init_state(2))
    assert y[1].isfinite().all()
    assert after.memory[1].isfinite().all()
    assert after.memory[0].isnan().any()


def test_the_start_is_learned_and_its_tokens_differ(wrapper: MemoryTokenWrapper) -> None:
    state = wrapper.init_state(2)
    wrapper(torch.randn(2, 3, DIM), state)[0].sum().backward()
    assert wrapper.initial.grad.abs().sum(1).min() > 0
    assert not torch.equal(state.memory[:, 0], state.memory[:, 1])


def test_the_memory_keeps_its_precision_in_a_half_precision_model(wrapper: MemoryTokenWrapper) -> None:
    state = wrapper.init_state(1, dtype=torch.float32)
    y, after = wrapper.bfloat16()(torch.randn(1, 3, DIM, dtype=torch.bfloat16), state)
    assert (y.dtype, after.memory.dtype) == (torch.bfloat16, torch.float32)


def test_the_report_counts_the_tokens_once_they_are_written(wrapper: MemoryTokenWrapper) -> None:
    state = wrapper.init_state(2)
    assert wrapper.report(state).written == 0
    report = wrapper.report(wrapper(torch.randn(2, 3, DIM), state)[1])
    assert (report.written, report.age_max, report.bytes_per_row) == (2 * TOKENS, 0, TOKENS * DIM * 4 + 8)


class T5Encoder(nn.Module):
    """Self-attention that knows of positions only by a bias for each distance, as T5 does, and a feed-forward part."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, DIM)
        self.bias = nn.Embedding(17, 1)
        self.attention = nn.MultiheadAttention(DIM, 1, bias=False, batch_first=True)
        self.feed_forward = nn.Sequential(nn.RMSNorm(DIM), nn.Linear(DIM, 8), nn.ReLU(), nn.Linear(8, DIM))

    def forward(self, embeds: Tensor, padding: Tensor | None, positions: Tensor) -> Tensor:
        distance = (positions[:, None] - positions[..., None]).clamp(-8, 8)
        bias = self.bias(distance + 8)[..., 0]
        if padding is not None:
            bias = bias.masked_fill(padding[:, None], -torch.inf)
        x = embeds + self.attention(embeds, embeds, embeds, attn_mask=bias, need_weights=False)[0]
        return x + self.feed_forward(x)


def test_a_t5_decoder_reads_earlier_segments_out_of_the_memory() -> None:
    torch.manual_seed(0)
    adapter = ModelAdapter(run=lambda model, *given: model(*given), embed=lambda model, ids: model.embedding(ids))
    wrapper = MemoryTokenWrapper(
        DIM, host=HostModel(T5Encoder(vocabulary=9), adapter), num_tokens=TOKENS, causal=False, initial_std=1.0
    )
    decoder = nn.TransformerDecoderLayer(DIM, 1, 8, dropout=0.0, batch_first=True)
    ids, target = torch.randint(9, (2, 12)), torch.randn(2, 3, DIM)

    def answer(ids: Tensor) -> Tensor:
        segments, paddings = split_segments(wrapper.embed(ids), 5, align="right")
        outputs, state = run_segments(wrapper, segments, wrapper.init_state(2), paddings=paddings)
        return decoder(target, torch.cat([state.memory, outputs[-1]], dim=1))

    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 9  # in the first of three segments
    assert (answer(other)[0] - answer(ids)[0]).abs().max() > 1e-6
    assert_close(answer(other)[1], answer(ids)[1])


def test_a_vision_transformer_of_timm_remembers_earlier_frames() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 3}
    vit = timm.models.vision_transformer.VisionTransformer(**sizes, class_token=False, global_pool="avg").eval()
    adapter = ModelAdapter(
        run=lambda model, embeds, padding, positions: model.norm(model.blocks(embeds)),
        embed=lambda model, images: model._pos_embed(model.patch_embed(images)),
        head=lambda model, hidden: model.head(model.fc_norm(hidden)),
    )
    wrapper = MemoryTokenWrapper(12, host=HostModel(vit, adapter), num_tokens=TOKENS, causal=False)
    frames = torch.randn(3, 2, 3, 8, 8)
    state = wrapper.init_state(2)
    for frame in frames:
        scores, state = wrapper(wrapper.embed(frame), state)
    assert scores.shape == (2, 4, 3)  # of three classes for each of four patches
    assert (scores - wrapper(wrapper.embed(frames[-1]), wrapper.init_state(2))[0]).abs().max() > 1e-4
    alone = adapter.run(vit, wrapper.embed(frames[-1]), None, torch.empty(0))
    assert_close(alone, vit.forward_features(frames[-1]))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="num_tokens must be at least 1, got 0"):
        MemoryTokenWrapper(DIM, host=HostModel(Tiny(True), ModelAdapter(run)), num_tokens=0)
    with pytest.raises(ValueError, match=r"initial_std must be above 0, got 0\.0"):
        MemoryTokenWrapper(DIM, host=HostModel(Tiny(True), ModelAdapter(run)), initial_std=0.0)


def test_a_segment_of_another_batch_or_width_is_refused(wrapper: MemoryTokenWrapper) -> None:
    for x in (torch.randn(3, 5, DIM), torch.randn(2, 5, DIM + 1)):
        with pytest.raises(ValueError, match="width 4 in 2 rows"):
            wrapper(x, wrapper.init_state(2))


def test_an_adapter_that_does_not_fit_its_model_is_named() -> None:
    with pytest.raises(ValueError, match="the adapter has no embed"):
        build(True).embed(torch.zeros(1, 2, dtype=torch.long))
    for wrong, found in ((lambda *_: (1, 2), "tuple"), (lambda model, embeds, *_: embeds[:, :1], r"\(1, 1, 4\)")):
        wrapper = MemoryTokenWrapper(DIM, host=HostModel(Tiny(True), ModelAdapter(wrong)), num_tokens=TOKENS)
        with pytest.raises(TypeError, match=rf"must return hidden states \(1, 7, 4\), got {found}"):
            wrapper(torch.zeros(1, 3, DIM), wrapper.init_state(1))


def test_an_official_checkpoint_with_something_else_is_refused() -> None:
    state = {"memory_cell.memory": torch.zeros(1), "memory_cell.model.a": torch.zeros(1)}
    assert MemoryTokenWrapper.from_official(state).keys() == {"initial", "model.a"}
    with pytest.raises(ValueError, match=r"has \['mem'\] outside the model"):
        MemoryTokenWrapper.from_official({**state, "mem": torch.zeros(1)})
