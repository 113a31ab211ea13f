"""Records with a name, versions and sources, found by a key vector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.stores.exact_index import ExactIndex
from mnemic_core.stores.index_io import json_copies, read_snapshot, write_snapshot

Records = TypeVar("Records", bound="RecordStore")


@dataclass(frozen=True)
class Record:
    """One version of what is known under a name.

    Attributes:
        name: of the record.
        version: 1 for the first.
        value: the content; None in the version that removed it.
        source: origin of this version, such as document and page.
    """

    name: str
    version: int
    value: Mapping[str, Any] | None
    source: Mapping[str, Any]


class Match(NamedTuple):
    """A found record with the inner product of its key and the query."""

    score: float
    record: Record


class RecordStore:
    """Keeps named records with key vectors; searches find the latest versions, the history keeps all.

    Every change adds a version with its source, so that an answer can be traced. Vectors are kept for the latest
    version only, in an :class:`~mnemic_core.stores.exact_index.ExactIndex`.

    Args:
        dim: width of the key vectors.

    Example:
        >>> store = RecordStore(dim=2)
        >>> keys = torch.eye(2)
        >>> _ = store.put(["sky", "sea"], keys, [{"is": "blue"}, {"is": "green"}], source={"page": 1})
        >>> _ = store.put(["sky"], keys[:1], [{"is": "grey"}], source={"page": 7})
        >>> [(match.record.name, match.record.value) for match in store.search(keys[:1], k=1)[0]]
        [('sky', {'is': 'grey'})]
        >>> [(record.version, record.source) for record in store.history("sky")]
        [(1, {'page': 1}), (2, {'page': 7})]
    """

    def __init__(self, dim: int) -> None:
        self._index = ExactIndex(dim)
        self._history: dict[str, list[Record]] = {}
        self._identity: dict[str, int] = {}  # in the index, of names that are not removed
        self._name: dict[int, str] = {}

    @property
    def dim(self) -> int:
        """Width of the key vectors."""
        return self._index.dim

    def __len__(self) -> int:
        """Return the number of names that have a value."""
        return len(self._identity)

    def __iter__(self) -> Iterator[str]:
        """Return the names that have a value."""
        return iter(self._identity)

    def __contains__(self, name: object) -> bool:
        """Return whether the name has a value."""
        return name in self._identity

    def put(
        self,
        names: Sequence[str],
        keys: Float[Tensor, "record dim"],
        values: Sequence[Mapping[str, Any]],
        *,
        source: Mapping[str, Any],
    ) -> list[Record]:
        """Store a new version of every name.

        Args:
            names: of the records, without repetitions.
            keys: their vectors.
            values: their contents, of JSON types.
            source: origin of all of them.

        Raises:
            TypeError: if a value or the source is not of JSON types.
            UserError: if the numbers differ, a name is repeated, or a key has a wrong shape or is not finite.
        """
        if len(set(names)) < len(names):
            raise UserError(f"each name may be put once at a time, got {list(names)}; put them one after the other")
        if not len(names) == len(keys) == len(values):
            raise UserError(
                f"as many names as keys and values are needed, got {len(names)}, {len(keys)} and {len(values)}"
            )
        *contents, origin = json_copies([*values, source])
        identities = self._index.add(keys).tolist()  # may raise, so old versions leave the index afterwards
        self._leave_index([name for name in names if name in self])
        self._identity |= zip(names, identities, strict=True)
        self._name |= zip(identities, names, strict=True)
        return [self._append(name, content, origin) for name, content in zip(names, contents, strict=True)]

    def remove(self, name: str, *, source: Mapping[str, Any]) -> Record:
        """Remove a name from searches and return the version of its history that says so.

        Raises:
            KeyError: if the name has no value.
        """
        self._require(name)
        (origin,) = json_copies([source])
        self._leave_index([name])
        return self._append(name, None, origin)

    def get(self, name: str, version: int | None = None) -> Record:
        """Return the latest or a given version of a name; an unknown one is a ``KeyError``."""
        if version is None:
            self._require(name)
            return self._history[name][-1]
        history = self.history(name)
        if not 1 <= version <= len(history):
            raise KeyError(f"{name!r} has versions 1 to {len(history)}, not {version}")
        return history[version - 1]

    def history(self, name: str) -> tuple[Record, ...]:
        """Return all versions of a name, oldest first."""
        return tuple(self._history.get(name, ()))

    def search(
        self, query: Float[Tensor, "query dim"], k: int, *, where: Callable[[Record], bool] | None = None
    ) -> list[list[Match]]:
        """Return for each query up to ``k`` records that satisfy ``where`` with the largest inner products."""
        allowed = None
        if where is not None:
            current = (self.get(self._name[identity]) for identity in self._index.identities.tolist())
            allowed = torch.tensor([bool(where(record)) for record in current], dtype=torch.bool)
        scores, identities = self._index.search(query, k, allowed=allowed)
        return [
            [
                Match(score, self.get(self._name[identity]))
                for score, identity in zip(*row, strict=True)
                if identity >= 0
            ]
            for row in zip(scores.tolist(), identities.tolist(), strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write all versions to a folder; a failure keeps the previous store of the folder."""
        tensors, index = self._index.snapshot()
        records = [asdict(record) for versions in self._history.values() for record in versions]
        content = {"index": index, "records": records, "identities": self._identity}
        write_snapshot(path, type(self).__name__, tensors, content)

    @classmethod
    def load(cls: type[Records], path: str | Path, *, mapped: bool = False) -> Records:
        """Read a store that :meth:`save` wrote.

        See :meth:`ExactIndex.load` for arguments and errors.
        """
        tensors, content = read_snapshot(path, cls.__name__, mapped=mapped)
        try:
            index = ExactIndex.from_snapshot(tensors, content["index"])
            store = cls(index.dim)
            store._index, store._identity = index, dict(content["identities"])
            store._name = {identity: name for name, identity in store._identity.items()}
            for record in content["records"]:
                store._history.setdefault(record["name"], []).append(Record(**record))
            if sorted(store._name) != index.identities.tolist() or not store._identity.keys() <= store._history.keys():
                raise UserError("records and vectors do not belong together")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"the records at {path} are inconsistent ({error}); save them again") from error
        return store

    def _append(self, name: str, value: Mapping[str, Any] | None, source: Mapping[str, Any]) -> Record:
        versions = self._history.setdefault(name, [])
        versions.append(Record(name, len(versions) + 1, value, source))
        return versions[-1]

    def _leave_index(self, names: Sequence[str]) -> None:
        identities = [self._identity.pop(name) for name in names]
        for identity in identities:
            del self._name[identity]
        self._index.remove(torch.tensor(identities, dtype=torch.long))

    def _require(self, name: str) -> None:
        if name not in self:
            raise KeyError(f"no record is named {name!r}; put it first")
