import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic_core.stores import running_top_k
from mnemic_core.stores.running_top_k import Rescore, own_scores, search


def by_sorting(query: Tensor, keys: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All scores of the rows, sorted; of equal ones the smaller row first."""
    top = (query @ keys[rows].T).sort(descending=True, stable=True)
    return top.values[:, :k], rows[top.indices[:, :k]]


def search_as_is(query: Tensor, keys: Tensor, rows: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    return search(query, keys, rows, k, own_scores(query, keys, keys.norm(dim=1).amax()))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a few dozen keys make several spans of blocks, groups and bundles, the last ones not full."""
    for name, size in {
        "SPAN_BYTES": 240,
        "BLOCK_ROWS": 7,
        "_RESCORED": 16,
        "_BUNDLES": 1,
        "_FEW": 0,
        "_SCORES_KEPT": 24,
    }.items():
        monkeypatch.setattr(running_top_k, name, size)
    monkeypatch.setattr(running_top_k, "_group_size", lambda number, k: 1 << number % 3)


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(1, 90),
    queries=st.integers(1, 3),
    share=st.floats(0.05, 1),
    order=st.sampled_from(["random", "rising", "falling", "equal"]),
    k=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_search_equals_sorting_all_scores_in_any_order(
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
    for found, wanted in zip(search_as_is(query, keys, rows, k), expected, strict=True):
        assert torch.equal(found, wanted)
    if chosen.all():
        assert torch.equal(search_as_is(query, keys, None, k)[1], expected[1])


def test_only_keys_that_reach_the_best_so_far_are_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []

    def counted(which: Tensor, row: Tensor) -> Tensor:
        scored.append(row.flatten().tolist())
        return own.exact(which, row)

    monkeypatch.setattr(running_top_k, "_RESCORED", 1 << 10)
    keys, query = torch.arange(400.0, 0, -1)[:, None], torch.ones(1, 1)  # 400 % 3 is 1: groups of 2
    own = own_scores(query, keys, torch.tensor(400.0))
    assert search(query, keys, None, 3, own._replace(exact=counted))[1].tolist() == [[0, 1, 2]]
    assert [rows for rows in scored if rows] == [[0, 1, 2, 3, 4]]  # the largest of three groups


def test_scores_equal_after_rounding_are_distinguished() -> None:
    keys = 1 + torch.arange(64)[torch.randperm(64)][:, None] / 4096
    rounded, query = keys.bfloat16(), torch.ones(1, 1)
    rescore = Rescore(lambda which, row: (keys[row] * query[which]).sum(-1), torch.full((1,), 1 / 128))
    scores, rows = search(query.bfloat16(), rounded, None, 5, rescore)
    assert torch.equal(rows[0], keys[:, 0].topk(5).indices)
    assert torch.equal(scores[0], keys[:, 0].topk(5).values)


@pytest.mark.parametrize(("number", "k", "size"), [(1, 1, 1), (40, 7, 1), (16_384, 32, 8), (262_144, 32, 32)])
def test_groups_grow_with_the_number_of_keys(number: int, k: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert running_top_k._group_size(number, k) == size


def test_queries_at_a_time_fit_into_a_block() -> None:
    assert [running_top_k.queries_at_a_time(k) for k in (1, 3, 1000)] == [24, 8, 1]
