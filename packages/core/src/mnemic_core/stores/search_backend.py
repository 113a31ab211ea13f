"""Searches for the nearest of many stored keys, for use in attention."""

import importlib
from types import ModuleType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.grouped_top_k import grouped_top_k

_GROUP = 16  # keys per group of the top-k


@runtime_checkable
class SearchBackend(Protocol):
    """Finds the stored keys with the largest inner product, without gradient or state."""

    def __call__(
        self,
        query: Float[Tensor, "batch head query dim"],
        keys: Float[Tensor, "batch key head dim"],
        allowed: Bool[Tensor, "batch key"],
        k: int,
    ) -> Int[Tensor, "batch head query k"]:
        """Return the indices of the ``k`` best allowed keys of each row and head; -1 where there are fewer."""
        ...


class ExactSearch:
    """Compares every query with every key, block by block to save memory.

    It can be compiled and exported. Among equal scores the choice is deterministic but unspecified.

    Args:
        block: keys compared at a time.

    Example:
        >>> keys = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[2.0, 0.0]]]])
        >>> ExactSearch()(torch.tensor([[[[1.0, 0.0]]]]), keys, torch.tensor([[True, True, False]]), k=3)
        tensor([[[[ 0,  1, -1]]]])
    """

    def __init__(self, block: int = 4096) -> None:
        check_at_least(1, block=block)
        self.block = block

    def __call__(
        self,
        query: Float[Tensor, "batch head query dim"],
        keys: Float[Tensor, "batch key head dim"],
        allowed: Bool[Tensor, "batch key"],
        k: int,
    ) -> Int[Tensor, "batch head query k"]:
        """Return the indices of the ``k`` best allowed keys of each row and head; -1 where there are fewer."""
        best = query.new_full((*query.shape[:3], k), -torch.inf)
        place = torch.full_like(best, -1, dtype=torch.long)
        for start in range(0, keys.shape[1], self.block):
            part = slice(start, start + self.block)
            scores = query @ keys[:, part].to(query.dtype).permute(0, 2, 3, 1)
            scores = scores.masked_fill(~allowed[:, None, None, part], -torch.inf)
            size, most = scores.shape[-1], min(k, scores.shape[-1])
            fold = _GROUP if size % _GROUP == 0 and size > 2 * most * _GROUP else 1  # only then are few groups sorted
            top, index = grouped_top_k(scores, most, fold)
            best, order = torch.cat([best, top], dim=-1).topk(k)
            place = torch.cat([place, index + start], dim=-1).gather(-1, order)
        return place.masked_fill(best == -torch.inf, -1)


class FaissBackend:
    """Searches with an index of the faiss library that is built in every call, outside the graph of ``torch.compile``.

    It is worthwhile if many queries share the keys. An approximate index misses neighbors: compare it with
    :class:`ExactSearch` first.

    Args:
        factory: description of the index as for ``faiss.index_factory``, such as ``"Flat"`` or ``"IVF64,Flat"``.
    """

    def __init__(self, factory: str = "Flat") -> None:
        _import_faiss()
        self.factory = factory

    def __call__(
        self,
        query: Float[Tensor, "batch head query dim"],
        keys: Float[Tensor, "batch key head dim"],
        allowed: Bool[Tensor, "batch key"],
        k: int,
    ) -> Int[Tensor, "batch head query k"]:
        """Return the indices of the keys found, best first; -1 where there are fewer than ``k``."""
        # The compiler cannot trace into the library.
        found: Tensor = torch.compiler.disable(self._search)(query.detach(), keys.detach(), allowed, k)
        return found

    def _search(self, query: Tensor, keys: Tensor, allowed: Tensor, k: int) -> Tensor:
        place = torch.full((*query.shape[:3], k), -1, device=query.device)
        for row, of_row in enumerate(allowed):
            slots = of_row.nonzero()[:, 0]
            for head in range(query.shape[1] if len(slots) else 0):
                found = self._search_one(query[row, head], keys[row, slots, head], min(k, len(slots)))
                place[row, head, :, : found.shape[1]] = torch.where(found < 0, -1, slots[found])
        return place

    def _search_one(self, query: Tensor, keys: Tensor, k: int) -> Tensor:
        faiss = _import_faiss()
        index = faiss.index_factory(keys.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)
        entries, wanted = (tensor.float().cpu().contiguous().numpy() for tensor in (keys, query))
        index.train(entries)
        index.add(entries)
        return torch.from_numpy(index.search(wanted, k)[1]).to(query.device)


def _import_faiss() -> ModuleType:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError(
            "FaissBackend needs the faiss library; install it with `pip install mnemic-core[faiss]`, or use ExactSearch"
        ) from error
