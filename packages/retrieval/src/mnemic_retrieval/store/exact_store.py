"""Items in memory, searched exhaustively: the reference for all other stores."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.stores import ExactIndex
from mnemic_core.stores.index_io import json_copies
from mnemic_retrieval.store.filters import Filter, matches
from mnemic_retrieval.store.items import Item
from mnemic_retrieval.store.store import MemoryStore, StoreSettings

_FILTERS = 64  # whose items are remembered: looking at each item takes longer than the search


class ExactStore(MemoryStore):
    """A memory in one process, for up to some hundred thousand items; it ends with the process.

    Args:
        settings: what is fixed from now on.

    Example:
        >>> store = ExactStore(StoreSettings(dim=2, fields={"year": "int"}))
        >>> store.upsert([Item("a", torch.tensor([1.0, 0.0]), text="east", metadata={"year": 2001})])
        >>> [(hit.item.text, hit.score) for hit in store.search(torch.tensor([[0.5, 2.0]]), k=3)[0]]
        [('east', 0.5)]
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._index = ExactIndex(settings.dim)
        self._items: dict[str, Item] = {}
        self._identities: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._allowed: dict[Filter, Tensor] = {}  # until the next change

    def refresh(self) -> None:
        """Do nothing: no other process writes here."""

    def optimize(self) -> None:
        """Do nothing: the index frees room by itself."""

    def close(self) -> None:
        """Free all items."""
        self._leave(list(self._items))

    def _upsert(self, items: list[Item]) -> None:
        versions = [self._items[item.id].version + 1 if item.id in self._items else 1 for item in items]
        fresh = self._index.add(torch.stack([item.vector.detach().cpu() for item in items])).tolist()
        self._leave([item.id for item in items if item.id in self._items])
        copies = json_copies([item.metadata for item in items])
        for item, identity, version, metadata in zip(items, fresh, versions, copies, strict=True):
            vector = item.vector.detach().float().cpu().clone()
            self._items[item.id] = replace(item, vector=vector, version=version, metadata=metadata)
            self._identities[item.id], self._ids[identity] = identity, item.id
        self._allowed.clear()

    def _delete(self, ids: list[str]) -> int:
        known = [each for each in ids if each in self._items]
        self._leave(known)
        return len(known)

    def _get(self, ids: list[str]) -> dict[str, Item]:
        return {each: self._items[each] for each in ids if each in self._items}

    def _search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None, *, exact: bool
    ) -> list[list[Item]]:
        del exact
        allowed, wanted = self._mask(where), k
        while True:
            scores, found = self._index.search(queries, wanted + 1, allowed=allowed)
            # As good as the last one that is wanted: more may follow.
            is_tied = (scores[:, -1] == scores[:, k - 1]) & (found[:, -1] >= 0)
            if not bool(is_tied.any()):
                break
            wanted *= 2
        return [[self._items[self._ids[each]] for each in row if each >= 0] for row in found.tolist()]

    def _count(self, where: Filter | None) -> int:
        if where is None:
            return len(self._items)
        return sum(matches(where, item) for item in self._items.values())

    def _mask(self, where: Filter | None) -> Bool[Tensor, " entry"] | None:
        if where is None:
            return None
        if where not in self._allowed:
            if len(self._allowed) >= _FILTERS:
                self._allowed.clear()
            order = [self._ids[identity] for identity in self._index.identities.tolist()]
            self._allowed[where] = torch.tensor([matches(where, self._items[each]) for each in order], dtype=torch.bool)
        return self._allowed[where]

    def _leave(self, ids: list[str]) -> None:
        identities = [self._identities.pop(each) for each in ids]
        for each, identity in zip(ids, identities, strict=True):
            del self._items[each], self._ids[identity]
        self._index.remove(torch.tensor(identities, dtype=torch.long))
        self._allowed.clear()
