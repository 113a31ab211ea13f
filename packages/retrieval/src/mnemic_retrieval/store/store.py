"""What all stores of memory items have in common."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_retrieval.store.filters import BUILT_IN, Filter, check_filter
from mnemic_retrieval.store.items import FieldType, Hit, Item, Modality, is_of_type

Store = TypeVar("Store", bound="MemoryStore")

_TIES = 8  # items beyond the k-th that are read to see whether they are as good
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class StoreSettings:
    """What is fixed when a memory is created.

    Attributes:
        dim: width of the vectors.
        encoder: what makes them, such as the checksum of an encoder's weights.
        fields: type of each metadata field that can be filtered; names in lower case.
    """

    dim: int
    encoder: str = ""
    fields: Mapping[str, FieldType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least(1, dim=self.dim)
        for name, kind in self.fields.items():
            check_choice(FieldType, **{name: kind})
            if not is_plain_name(name) or name in BUILT_IN or name in _RESERVED:
                raise UserError(
                    f"a field to filter by cannot be called {name!r}: small letters, digits and _, not taken"
                )


_RESERVED = {"vector", "image", "metadata"}


def is_plain_name(name: str) -> bool:
    """Return whether a name is one in every engine: small letters, digits and _, at most 40."""
    return _NAME.fullmatch(name) is not None


class MemoryStore(ABC):
    """A memory of items that are found by vectors, with filters; see `ExactStore` and `LanceStore`.

    This class checks what comes in and orders what goes out, so that all stores do both alike: hits come by falling
    score, equal ones by id. Engines fill in the rest.

    Attributes:
        settings: what was fixed when the memory was created.
    """

    settings: StoreSettings

    def upsert(self, items: Sequence[Item]) -> None:
        """Add items, or replace those with their ids, all or none; of equal ids in a call the last counts.

        Raises:
            UserError: a vector has another width or is not finite, an id is empty, or a field has another type.
        """
        unique = {item.id: item for item in items}
        for item in unique.values():
            self._check_item(item)
        if unique:
            self._upsert(list(unique.values()))

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items and return how many there were; unknown ids are no error."""
        return self._delete(list(dict.fromkeys(ids))) if ids else 0

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """Return items in the order of their ids, None for unknown ones."""
        found = self._get(list(dict.fromkeys(ids))) if ids else {}
        return [found.get(each) for each in ids]

    def search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None = None, *, exact: bool = False
    ) -> list[list[Hit]]:
        """Return up to ``k`` items for each query, best first.

        Args:
            queries: vectors.
            k: most items of a query.
            where: which items may be found.
            exact: compare all items, also where the engine has an approximate index.

        Raises:
            UserError: a vector has another width or is not finite, or the filter does not fit the memory.
        """
        check_at_least(1, k=k)
        if queries.ndim != 2 or queries.shape[1] != self.settings.dim or not bool(queries.isfinite().all()):
            raise UserError(f"queries must be finite [number, {self.settings.dim}], got {tuple(queries.shape)}")
        if where is not None:
            check_filter(where, self.settings.fields)
        queries = queries.detach().float().cpu().contiguous()
        rows = self._search(queries, k, where, exact=exact) if len(queries) else []
        return [self._ranked(query, items, k) for query, items in zip(queries, rows, strict=True)]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of items, of those that satisfy a filter if one is given."""
        if where is not None:
            check_filter(where, self.settings.fields)
        return self._count(where)

    @abstractmethod
    def refresh(self) -> None:
        """See what other processes have written."""

    @abstractmethod
    def optimize(self) -> None:
        """Free the room of removed items, and make searches fast after many small changes."""

    @abstractmethod
    def close(self) -> None:
        """Free what the store holds; it cannot be used afterwards."""

    def __enter__(self: Store) -> Store:
        """Return the store, which is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    @abstractmethod
    def _upsert(self, items: list[Item]) -> None:
        """Add or replace checked items with different ids, and count their versions."""

    @abstractmethod
    def _delete(self, ids: list[str]) -> int:
        """Remove items with different ids."""

    @abstractmethod
    def _get(self, ids: list[str]) -> dict[str, Item]:
        """Return known items by id."""

    @abstractmethod
    def _search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None, *, exact: bool
    ) -> list[list[Item]]:
        """Return for each query at least the ``k`` best items, and all that are as good as the last of them."""

    @abstractmethod
    def _count(self, where: Filter | None) -> int:
        """Return the number of items."""

    def _check_item(self, item: Item) -> None:
        if not item.id:
            raise UserError("an item needs an id, got ''")
        if item.modality not in get_args(Modality):
            known = ", ".join(get_args(Modality))
            raise UserError(f"modality of {item.id!r} must be one of {known}, got {item.modality!r}")
        if item.vector.shape != (self.settings.dim,) or not bool(item.vector.isfinite().all()):
            shape = tuple(item.vector.shape)
            raise UserError(f"the vector of {item.id!r} must be finite [{self.settings.dim}], got {shape}")
        texts = {"id": item.id, "text": item.text, "image": item.image, "image_hash": item.image_hash}
        types: dict[str, FieldType] = {**dict.fromkeys(texts, "str"), **self.settings.fields}
        for name, value in {**texts, **item.metadata}.items():
            if name in types and value is not None and not is_of_type(value, types[name]):
                raise UserError(f"{name} of {item.id!r} must be of type {types[name]}, got {value!r}")
        try:
            json.dumps(dict(item.metadata))
        except (TypeError, ValueError) as error:
            raise UserError(f"metadata of {item.id!r} must be of JSON types ({error})") from error

    def _with_ties(
        self,
        nearest: Callable[[int], list[list[Item]]],
        queries: Float[Tensor, "query dim"],
        k: int,
    ) -> list[list[Item]]:
        """Return the items of ``nearest(number)``, for a number so large that all as good as the k-th are there."""
        wanted = k + _TIES
        while True:
            rows = nearest(wanted)
            is_full = [len(row) == wanted for row in rows]
            if not any(
                full and _is_tied(query, row, k) for full, query, row in zip(is_full, queries, rows, strict=True)
            ):
                return rows
            wanted *= 4

    def _ranked(self, query: Float[Tensor, " dim"], items: Sequence[Item], k: int) -> list[Hit]:
        if not items:
            return []
        scores = _scores(query, items).tolist()
        hits = [Hit(score, item) for score, item in zip(scores, items, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.item.id))[:k]


def _is_tied(query: Float[Tensor, " dim"], items: Sequence[Item], k: int) -> bool:
    """Return whether the worst of the items is as good as the k-th best."""
    scores = _scores(query, items).sort(descending=True).values
    return bool(scores[-1] >= scores[k - 1])


def _scores(query: Float[Tensor, " dim"], items: Sequence[Item]) -> Float[Tensor, " item"]:
    """Return inner products, by the same sum for every engine and item, so that equal vectors have equal scores."""
    return (torch.stack([item.vector for item in items]) * query).sum(-1)
