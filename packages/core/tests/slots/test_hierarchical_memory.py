import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core.slots.hierarchical_memory import HierarchicalMemoryWrapper, HierarchicalState
from mnemic_core.slots.model_adapter import HostModel, ModelAdapter
from mnemic_core.testing import CONTRACT, POLICY_RULES
from mnemic_core.training import run_segments, split_segments

DIM, BANK, SENSORY = 4, 3, 2


class Causal(nn.Module):
    """One layer of causal attention with learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(DIM, 3 * DIM)
        self.position = nn.Embedding(16, DIM)


def run(model: Causal, embeds: Tensor, padding: Tensor | None, positions: Tensor) -> Tensor:
    x = embeds + model.position(positions)
    query, key, value = model.projection(x).chunk(3, dim=-1)
    allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    if padding is not None:
        allowed = allowed & ~padding[:, None]
    logits = (query @ key.mT).masked_fill(~allowed, torch.finfo(x.dtype).min)
    return x + logits.softmax(-1) @ value


def build(detach: str = "never", **settings: object) -> HierarchicalMemoryWrapper:
    torch.manual_seed(0)
    sizes = {"num_bank": BANK, "num_sensory": SENSORY, "recall_dim": 3, "initial_std": 1.0}
    return HierarchicalMemoryWrapper(
        DIM, host=HostModel(Causal(), ModelAdapter(run)), **{**sizes, **settings}, detach=detach
    )


@pytest.fixture
def wrapper() -> HierarchicalMemoryWrapper:
    return build()


@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
def test_hierarchical_memory_keeps_rule(detach: str, rule: str) -> None:
    CONTRACT[rule](build(detach))


def plain(wrapper: HierarchicalMemoryWrapper, *parts: Tensor) -> Tensor:
    """Run the model alone over the parts."""
    embeds = torch.cat(parts, dim=1)
    return run(wrapper.model, embeds, None, torch.arange(embeds.shape[1]).expand(embeds.shape[:2]))


def by_hand(wrapper: HierarchicalMemoryWrapper, segments: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The equations with lists that grow, for segments of more tokens than are repeated."""
    bank, outputs, sensory = [], [], segments[0][:, :0]
    prompt, recalled = (parameter.expand(len(sensory), 1, DIM) for parameter in (wrapper.prompt, wrapper.initial))
    for x in segments:
        if bank:
            summary = plain(wrapper, prompt, x[:, : round(0.5 * x.shape[1])], prompt)[:, -1:]
            stored = torch.cat(bank[-BANK:], dim=1)
            similarity = wrapper.query(summary) @ wrapper.key(stored).mT / 3**0.5
            recalled = similarity.softmax(-1) @ stored
        hidden = plain(wrapper, recalled, sensory, x, recalled)
        outputs.append(hidden[:, 1 + sensory.shape[1] : -1])
        bank.append(hidden[:, -1:])
        sensory = x[:, -SENSORY:]
    return outputs, bank


@pytest.mark.parametrize("length", [4, 5])
def test_segments_follow_the_equations_also_when_the_bank_overflows(
    wrapper: HierarchicalMemoryWrapper, length: int
) -> None:
    segments = list(torch.randn(6, 2, length, DIM))
    outputs, state = run_segments(wrapper, segments, wrapper.init_state(2))
    expected, bank = by_hand(wrapper, segments)
    assert_close(outputs, expected)
    assert_close(state.bank.ordered(), torch.cat(bank[-BANK:], dim=1))
    assert_close(state.sensory.ordered(), segments[-1][:, -SENSORY:])


def test_a_short_first_segment_is_summarized_by_its_own_half(wrapper: HierarchicalMemoryWrapper) -> None:
    x = torch.randn(2, 7, DIM)
    segments, paddings = split_segments(x, 4, align="right")
    outputs, state = run_segments(wrapper, segments, wrapper.init_state(2), paddings=paddings)
    first, expected_state = wrapper(x[:, :3], wrapper.init_state(2))
    second, expected_state = wrapper(x[:, 3:], expected_state)
    assert_close(outputs[0][:, 1:], first)
    assert_close(outputs[1], second)
    assert_close(state.bank.ordered(), expected_state.bank.ordered())
    assert_close(wrapper.summarize(segments[0], paddings[0]), wrapper.summarize(x[:, :3]))


def test_recall_prefers_the_entry_of_the_query() -> None:
    wrapper = build(recall_dim=DIM)
    for layer in (wrapper.query, wrapper.key):
        nn.init.eye_(layer.weight)
    state, entries = wrapper.init_state(1), 20 * torch.eye(DIM)[None, : BANK + 1]
    state = HierarchicalState(state.bank.append(entries), state.sensory)
    assert_close(wrapper.recall(entries[:, 1:], state), entries[:, 1:])
    # The first entry was pushed out by the fourth: nothing in the bank is like it, so all are recalled alike.
    assert_close(wrapper.recall_weights(entries[:, :1], state), torch.full((1, 1, BANK), 1 / BANK))


def test_an_empty_bank_recalls_the_learned_start_in_its_own_row_only(wrapper: HierarchicalMemoryWrapper) -> None:
    _, state = wrapper(torch.randn(2, 4, DIM), wrapper.init_state(2))
    state = wrapper.reset(state, torch.tensor([True, False]))
    recalled = wrapper.recall(torch.randn(2, 1, DIM), state)
    assert_close(recalled[0], wrapper.initial)
    assert_close(recalled[1], state.bank.items[1, :1])
    assert wrapper.recall_weights(torch.randn(2, 1, DIM), state).sum(-1).tolist() == [[0.0], [1.0]]


def test_a_row_of_padding_keeps_its_state(wrapper: HierarchicalMemoryWrapper) -> None:
    _, state = wrapper(torch.randn(2, 4, DIM), wrapper.init_state(2))
    x, padding = torch.randn(2, 4, DIM), torch.tensor([[True] * 4, [False] * 4])
    x[0] = torch.nan
    _, after = wrapper(x, state, padding=padding)
    for name, tensor in after.tensors().items():
        assert torch.equal(tensor[0], state.tensors()[name][0]), name
        assert tensor.isfinite().all(), name
    assert after.bank.count.tolist() == [1, 2]


def test_a_segment_without_tokens_changes_nothing(wrapper: HierarchicalMemoryWrapper) -> None:
    state = wrapper.init_state(2)
    y, after = wrapper(torch.zeros(2, 0, DIM), state)
    assert y.shape == (2, 0, DIM)
    assert after is state


def test_nan_stays_in_its_row(wrapper: HierarchicalMemoryWrapper) -> None:
    first, second = torch.randn(2, 2, 4, DIM)
    first[0, 1] = torch.nan
    outputs, state = run_segments(wrapper, [first, second], wrapper.init_state(2))
    assert outputs[1][0].isnan().any()
    assert outputs[1][1].isfinite().all()
    assert state.bank.items[1].isfinite().all()


def test_the_bank_keeps_its_precision_in_a_half_precision_model(wrapper: HierarchicalMemoryWrapper) -> None:
    state = wrapper.init_state(1, dtype=torch.float32)
    y, after = wrapper.bfloat16()(torch.randn(1, 4, DIM, dtype=torch.bfloat16), state)
    assert (y.dtype, after.bank.items.dtype) == (torch.bfloat16, torch.float32)


def test_the_report_counts_the_segments_in_the_bank(wrapper: HierarchicalMemoryWrapper) -> None:
    _, state = run_segments(wrapper, list(torch.randn(2, 2, 4, DIM)), wrapper.init_state(2))
    report = wrapper.report(state)
    assert (report.written, report.capacity, report.age_max) == (4, 2 * BANK, 1)
    assert report.bytes_per_row == (BANK + SENSORY) * DIM * 4 + 4 * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bank": 0}, "num_bank must be at least 1, got 0"),
        ({"num_sensory": 0}, "num_sensory must be at least 1, got 0"),
        ({"recall_dim": 0}, "recall_dim must be at least 1, got 0"),
        ({"summary_fraction": 1.5}, r"summary_fraction must be above 0 and at most 1, got 1\.5"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_a_segment_of_another_batch_is_refused(wrapper: HierarchicalMemoryWrapper) -> None:
    with pytest.raises(ValueError, match="width 4 in 2 rows, got width 4 in 3 rows"):
        wrapper(torch.randn(3, 4, DIM), wrapper.init_state(2))
