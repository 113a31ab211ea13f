import sys

import pytest
import torch
from torch import Tensor

from mnemic_core.buffers.neighbour_attention import NeighbourAttention
from mnemic_core.stores.search_backend import ExactSearch, FaissBackend, SearchBackend


def by_sorting(query: Tensor, keys: Tensor, allowed: Tensor, k: int) -> Tensor:
    """All scores, sorted."""
    scores = torch.einsum("bhqd,bnhd->bhqn", query, keys).masked_fill(~allowed[:, None, None], -torch.inf)
    top = scores.sort(descending=True)
    return top.indices.masked_fill(top.values == -torch.inf, -1)[..., :k]


@pytest.mark.parametrize(("number", "block", "k"), [(7, 3, 2), (300, 64, 1), (400, 400, 5), (130, 64, 9)])
def test_search_by_blocks_equals_sorting_all_scores(number: int, block: int, k: int) -> None:
    query, keys = torch.randn(2, 3, 4, 5), torch.randn(2, number, 3, 5)
    allowed = torch.rand(2, number) < 0.7
    assert torch.equal(ExactSearch(block)(query, keys, allowed, k), by_sorting(query, keys, allowed, k))


def test_fewer_allowed_keys_than_k_leave_minus_one() -> None:
    allowed = torch.zeros(1, 64, dtype=torch.bool)
    allowed[0, [3, 50]] = True
    found = ExactSearch(64)(torch.randn(1, 1, 2, 4), torch.randn(1, 64, 1, 4), allowed, 3)
    assert found.sort().values.unique(dim=2).tolist() == [[[[-1, 3, 50]]]]
    assert (found[..., 2] == -1).all()


def test_searches_are_backends() -> None:
    assert isinstance(ExactSearch(), SearchBackend)
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        ExactSearch(0)


def test_faiss_equals_exact_search() -> None:
    pytest.importorskip("faiss")
    query, keys = torch.randn(2, 3, 4, 8), torch.randn(2, 50, 3, 8)
    allowed = torch.rand(2, 50) < 0.7
    assert torch.equal(FaissBackend()(query, keys, allowed, 6), ExactSearch()(query, keys, allowed, 6))


def test_attention_takes_faiss_as_its_search() -> None:
    pytest.importorskip("faiss")
    attention = NeighbourAttention(4, num_heads=2, capacity=16, window=2, k=3, backend=FaissBackend())
    state = attention.init_state(2)
    for segment in torch.randn(3, 2, 4, 4):
        y, state = attention(segment, state)
    assert y.shape == (2, 4, 4)


def test_without_faiss_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install mnemic-core\[faiss\]"):
        FaissBackend()
