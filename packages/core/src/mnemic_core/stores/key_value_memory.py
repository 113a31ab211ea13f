"""Pairs of keys and values, each a few vectors, found by a search vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.mechanism import Mechanism
from mnemic_core.state import MemoryState
from mnemic_core.stores.exact_index import ExactIndex
from mnemic_core.stores.index_io import read_snapshot, write_snapshot

Precision = Literal["float32", "float16", "int8"]
"""How slots are stored; int8 with a scale for each slot."""

Memory = TypeVar("Memory", bound="KeyValueMemory")

_LARGEST = 127
_TYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
_PARTS = ("keys", "values")
_FACTS = ("dim", "num_slots", "precision", "maker")  # in the file


@dataclass(frozen=True)
class RetrievedSlots(MemoryState):
    """What was found for each query, best first.

    Attributes:
        keys: slots of the keys; zeros where nothing was found.
        values: slots of the values, likewise.
        allowed: True at items, False where fewer were found than wanted.
    """

    keys: Float[Tensor, "batch item slot dim"]
    values: Float[Tensor, "batch item slot dim"]
    allowed: Bool[Tensor, "batch item"]


class KeyValueMemory:
    """A table of keys and values for attention, larger than what fits into a sequence: the memory of EMAT.

    Every pair has a search vector, by whose inner product with a query it is found (arXiv 2210.16773), and a payload,
    such as its texts and their source, for citations. A pair has ``4 num_slots dim + 4 search_dim`` bytes in float16.

    Args:
        dim: width of slots.
        num_slots: vectors of a key, and of a value.
        search_dim: width of search vectors; ``dim`` if None.
        precision: of stored slots.
        maker: what made keys and values, such as the checksum of an encoder's weights, which is saved with them.

    Example:
        >>> memory = KeyValueMemory(dim=3, num_slots=1, search_dim=2)
        >>> keys, values = torch.zeros(2, 1, 3), torch.ones(2, 1, 3)
        >>> identities = memory.add(torch.eye(2), keys, values, [{"answer": "east"}, {"answer": "north"}])
        >>> scores, found = memory.search(torch.tensor([[0.5, 2.0]]), k=3)
        >>> memory.payload(int(found[0, 0])), memory.gather(found).allowed.tolist()
        ({'answer': 'north'}, [[True, True, False]])
    """

    def __init__(
        self,
        dim: int,
        *,
        num_slots: int = 2,
        search_dim: int | None = None,
        precision: Precision = "float16",
        maker: str = "",
    ) -> None:
        search_dim = dim if search_dim is None else search_dim
        check_at_least(1, dim=dim, num_slots=num_slots, search_dim=search_dim)
        check_choice(Precision, precision=precision)
        self.num_slots, self.dim, self.precision, self.maker = num_slots, dim, precision, maker
        attached = {part: torch.empty(0, num_slots, dim, dtype=_TYPES[precision]) for part in _PARTS}
        if precision == "int8":
            attached |= {f"{part}_scale": torch.empty(0, num_slots, 1) for part in _PARTS}
        self._index = ExactIndex(search_dim, attached=attached)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._index)

    @property
    def identities(self) -> Int[Tensor, " pair"]:
        """Identities of all pairs, oldest first."""
        return self._index.identities

    def payload(self, identity: int) -> dict[str, Any]:
        """Return what was stored with a pair; an unknown identity is a ``UserError``."""
        return self._index.payload(identity)

    def add(
        self,
        vectors: Float[Tensor, "pair search"],
        keys: Float[Tensor, "pair slot dim"],
        values: Float[Tensor, "pair slot dim"],
        payloads: Sequence[Mapping[str, Any]] | None = None,
    ) -> Int[Tensor, " pair"]:
        """Add pairs and return their identities, ascending and never reused.

        Raises:
            TypeError: a payload is not of JSON types.
            UserError: a shape is wrong, or a number is not finite, also in the stored precision.
        """
        attached: dict[str, Tensor] = {}
        for part, slots in zip(_PARTS, (keys, values), strict=True):
            attached |= self._stored(part, slots)
        return self._index.add(vectors, payloads, attached)

    def remove(self, identities: Int[Tensor, " pair"]) -> None:
        """Remove pairs, none of them if one is unknown, which is a ``UserError``."""
        self._index.remove(identities)

    def search(
        self, query: Float[Tensor, "query search"], k: int, *, allowed: Bool[Tensor, " pair"] | None = None
    ) -> tuple[Float[Tensor, "query k"], Int[Tensor, "query k"]]:
        """Return scores, best first, and identities of the ``k`` pairs that fit best; see `ExactIndex.search`."""
        return self._index.search(query, k, allowed=allowed)

    def gather(self, identities: Int[Tensor, "query k"]) -> RetrievedSlots:
        """Return the slots of found pairs in float32; -1 is none."""
        allowed = identities >= 0
        keys, values = (self._slots(part, identities, allowed) for part in _PARTS)
        return RetrievedSlots(keys, values, allowed)

    def save(self, path: str | Path) -> None:
        """Write all pairs to a folder; a failure keeps the previous memory of the folder."""
        tensors, index = self._index.snapshot()
        write_snapshot(
            path, type(self).__name__, tensors, {"index": index, **{name: getattr(self, name) for name in _FACTS}}
        )

    @classmethod
    def load(cls: type[Memory], path: str | Path, *, maker: str | None = None, mapped: bool = False) -> Memory:
        """Read a memory that `save` wrote.

        Args:
            path: the folder.
            maker: what must have made it; None: anything.
            mapped: memory-map vectors and slots, for a memory larger than main memory; damage is then not detected.

        Raises:
            FileNotFoundError: if there is none.
            UserError: if it is damaged, of another format version, or made by another encoder.
        """
        tensors, content = read_snapshot(path, cls.__name__, mapped=mapped)
        made = content.get("maker")
        if maker is not None and made != maker:
            raise UserError(f"the memory at {path} was made by {made}, but is to be read by {maker}: build it anew")
        try:
            index = ExactIndex.from_snapshot(tensors, content["index"])
            facts = {name: content[name] for name in _FACTS}
            memory = cls(**facts, search_dim=index.dim)
            if index.attachments != memory._index.attachments:
                raise UserError(f"its slots are {index.attachments}")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(f"the memory at {path} is inconsistent ({error}); save it again") from error
        memory._index = index
        return memory

    def _stored(self, part: str, slots: Float[Tensor, "pair slot dim"]) -> dict[str, Tensor]:
        if self.precision == "int8":
            scale = slots.abs().amax(-1, keepdim=True).float() / _LARGEST
            stored = (slots / scale.clamp(min=torch.finfo(torch.float32).tiny)).round()
            rows = {part: stored, f"{part}_scale": scale}
        else:
            rows = {part: slots.to(_TYPES[self.precision])}
        if not all(bool(each.isfinite().all()) for each in rows.values()):
            raise UserError(f"{part} must be finite in {self.precision}: drop or scale what is not")
        return rows

    def _slots(
        self, part: str, identities: Int[Tensor, "query k"], allowed: Bool[Tensor, "query k"]
    ) -> Float[Tensor, "query k slot dim"]:
        found = torch.zeros(*identities.shape, self.num_slots, self.dim, device=identities.device)
        slots = self._index.attached(part, identities[allowed]).float()
        if self.precision == "int8":
            slots = slots * self._index.attached(f"{part}_scale", identities[allowed])
        found[allowed] = slots
        return found


KEY_VALUE = Mechanism(
    name="key_value",
    cls=KeyValueMemory,
    place="store",
    paper="An Efficient Memory-Augmented Transformer for Knowledge-Intensive NLP Tasks (EMAT, 2022)",
    arxiv="2210.16773",
    objective=("knowledge integration",),
    representation="explicit",
    integration=("associative retrieval", "attention fusion"),
    read="exact top-k inner products, then slots of keys and values",
    write="add pairs with payloads",
    forget="remove pairs",
    capacity="unbounded",
    cost="O(N d) a query",
)
