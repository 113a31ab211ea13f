import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic_core.stores import running_top_k
from mnemic_core.stores.running_top_k import RunningTopK, search


def by_sorting(query: Tensor, keys: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All scores of the rows, sorted; of equal ones the smaller row first."""
    top = (query @ keys[rows].T).sort(descending=True, stable=True)
    return top.values[:, :k], rows[top.indices[:, :k]]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a few dozen keys make several blocks of several groups, the last ones not full."""
    for name, size in {"GROUP": 4, "BLOCK_SCORES": 24, "_SEED_KEYS": 4}.items():
        monkeypatch.setattr(running_top_k, name, size)


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(1, 90),
    queries=st.integers(1, 3),
    share=st.floats(0.05, 1),
    order=st.sampled_from(["random", "rising", "falling", "equal"]),
    k=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_search_equals_sorting_all_scores_whatever_their_order(
    number: int, queries: int, share: float, order: str, k: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randint(-3, 4, (number, 2), generator=generator).float()  # whole numbers: exact, with many ties
    query = torch.randint(-3, 4, (queries, 2), generator=generator).float()
    if order != "random":
        keys = {"rising": 1, "falling": -1, "equal": 0}[order] * torch.arange(number)[:, None].expand(-1, 2).float()
    chosen = torch.rand(number, generator=generator) < share
    chosen[0] = True
    rows = chosen.nonzero()[:, 0]
    k = min(k, len(rows))
    expected = by_sorting(query, keys, rows, k)
    for found, wanted in zip(search(query, keys, rows, k), expected, strict=True):
        assert torch.equal(found, wanted)
    if chosen.all():
        assert torch.equal(search(query, keys, None, k)[1], expected[1])


def test_later_blocks_are_looked_into_only_where_they_exceed_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = []
    offer = RunningTopK.offer

    def counted(self: RunningTopK, query: Tensor, row: Tensor, score: Tensor) -> None:
        offered.append(len(row))
        offer(self, query, row, score)

    monkeypatch.setattr(RunningTopK, "offer", counted)
    keys = torch.arange(400.0, 0, -1)[:, None]
    search(torch.ones(1, 1), keys, None, 3)
    assert offered == [3]


def test_queries_at_a_time_keep_what_is_held_within_a_block() -> None:
    assert [running_top_k.queries_at_a_time(k) for k in (1, 3, 1000)] == [24, 8, 1]
