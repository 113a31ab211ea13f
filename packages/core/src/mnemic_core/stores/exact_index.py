"""Vectors with payloads, and exact nearest-neighbor search."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.mechanism import Mechanism
from mnemic_core.stores import running_top_k
from mnemic_core.stores.index_io import json_copies, read_snapshot, write_snapshot
from mnemic_core.stores.payloads import Payloads
from mnemic_core.stores.running_top_k import Rescore, inner_products, own_scores

Scan = Literal["float32", "bfloat16"]
Index = TypeVar("Index", bound="ExactIndex")
_ATTACHED = "attached."  # before the names of attached tensors in files


class ExactIndex:
    """Finds the stored vectors with the largest inner product by exhaustive search.

    Equal scores are ordered by age, oldest first. Memory of removed entries is freed when they outnumber the others.

    Scores are float32. ``scan="bfloat16"`` compares rounded copies first and computes exact scores where the largest
    rounding error of the keys allows a place among the best, so results are the same up to the last digit of a score.
    It halves memory traffic: a little faster for a few queries on processors with bfloat16 instructions, not for
    hundreds, and much slower on others.

    Args:
        dim: width of the vectors.
        scan: type of the first comparison.
        device: of the vectors.
        attached: names, types and shapes of further tensors that each entry has, as tensors without rows.

    Example:
        >>> index = ExactIndex(dim=2)
        >>> index.add(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [{"name": "east"}, {"name": "north"}])
        tensor([0, 1])
        >>> scores, identities = index.search(torch.tensor([[0.5, 2.0]]), k=3)
        >>> scores, identities
        (tensor([[2.0000, 0.5000,   -inf]]), tensor([[ 1,  0, -1]]))
        >>> index.payload(1)
        {'name': 'north'}
    """

    def __init__(
        self,
        dim: int,
        *,
        scan: Scan = "float32",
        device: torch.device | str = "cpu",
        attached: Mapping[str, Shaped[Tensor, "0 ..."]] | None = None,
    ) -> None:
        check_at_least(1, dim=dim)
        check_choice(Scan, scan=scan)
        self.dim = dim
        self.scan: Scan = scan
        # Further rows of the tensors are unused; a removed entry keeps its row but is not live.
        self._num_rows = self._num_live = 0
        self._keys = torch.empty(0, dim, device=device)
        self._rounded: Tensor | None = self._keys.bfloat16() if scan == "bfloat16" else None
        # Bounds of the errors of a scan; those of removed entries stay.
        self._longest = torch.zeros((), device=device)  # length of a key
        self._worst = torch.zeros(2, device=device)  # largest rounding error and length of rounded keys
        self._identities = torch.empty(0, dtype=torch.long, device=device)  # ascending
        self._live = torch.empty(0, dtype=torch.bool, device=device)
        self._attached = {name: empty[:0].to(device) for name, empty in (attached or {}).items()}
        self._payloads = Payloads()
        self._next_identity = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._num_live

    @property
    def identities(self) -> Int[Tensor, " entry"]:
        """Identities of all entries, oldest first."""
        return self._identities[self._live_rows()]

    def payload(self, identity: int) -> dict[str, Any]:
        """Return what was stored with a vector; an unknown identity is a ``UserError``."""
        return dict(self._payloads[int(self._rows_of(torch.tensor([identity]))[0])])

    def vectors(self, identities: Int[Tensor, " entry"]) -> Float[Tensor, "entry dim"]:
        """Return the vectors of the given entries; an unknown identity is a ``UserError``."""
        return self._keys[self._rows_of(identities)]

    @property
    def attachments(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of what is attached to an entry, by name."""
        return {name: (rows.dtype, tuple(rows.shape[1:])) for name, rows in self._attached.items()}

    def attached(self, name: str, identities: Int[Tensor, " entry"]) -> Shaped[Tensor, "entry ..."]:
        """Return what is attached to the given entries under a name; an unknown identity is a ``UserError``."""
        return self._attached[name][self._rows_of(identities)]

    def add(
        self,
        keys: Float[Tensor, "entry dim"],
        payloads: Sequence[Mapping[str, Any]] | None = None,
        attached: Mapping[str, Shaped[Tensor, "entry ..."]] | None = None,
    ) -> Int[Tensor, " entry"]:
        """Add entries; an index whose vectors are mapped from a file copies them to memory first.

        Args:
            keys: vectors, copied as float32.
            payloads: content for each vector, of JSON types; empty if None.
            attached: the further tensors of each entry, by name.

        Returns:
            The identities of the new entries, ascending and never reused.

        Raises:
            TypeError: if a payload is not of JSON types.
            UserError: if a shape is wrong, a value is not finite, or the numbers of vectors and payloads differ.
        """
        keys, further = self._checked(keys, "keys"), self._checked_attached(attached or {}, len(keys))
        contents = [{} for _ in keys] if payloads is None else json_copies(payloads)
        if len(contents) != len(keys):
            raise UserError(f"as many payloads as keys are needed, got {len(contents)} for {len(keys)} keys")
        fresh = torch.arange(self._next_identity, self._next_identity + len(keys), device=keys.device)
        new = slice(self._num_rows, self._num_rows + len(keys))
        self._reserve(new.stop)
        self._keys[new], self._identities[new], self._live[new] = keys, fresh, True
        for name, rows in further.items():
            self._attached[name][new] = rows
        self._longest = torch.maximum(self._longest, _longest(keys))
        if self._rounded is not None:
            self._rounded[new] = keys
            self._worst = torch.maximum(self._worst, _worst(keys))
        self._payloads.extend(contents)
        self._num_rows, self._next_identity = new.stop, self._next_identity + len(keys)
        self._num_live += len(keys)
        return fresh

    def remove(self, identities: Int[Tensor, " entry"]) -> None:
        """Remove entries, none of them if one is unknown, which is a ``UserError``."""
        rows = self._rows_of(identities)
        self._live[rows] = False
        self._num_live = int(self._live.sum())  # an identity may be given twice
        self._payloads.forget(rows)
        if 2 * len(self) < self._num_rows:
            self._keep(self._live_rows())

    @torch.no_grad()
    def search(
        self, query: Float[Tensor, "query dim"], k: int, *, allowed: Bool[Tensor, " entry"] | None = None
    ) -> tuple[Float[Tensor, "query k"], Int[Tensor, "query k"]]:
        """Return scores, best first, and identities of the ``k`` entries with the largest inner products.

        Where there are fewer, scores end with -inf and identities with -1. ``allowed`` is True at entries that may be
        found, in the order of :attr:`identities`; None for all.
        """
        query = self._checked(query, "query")
        check_at_least(1, k=k)
        rows = self._searched_rows(allowed)
        number_found = min(k, self._num_rows if rows is None else len(rows))
        if not number_found:
            return self._padded(query.new_empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.long), k)
        parts = [
            self._search(part, rows, number_found)
            for part in query.split(running_top_k.queries_at_a_time(number_found))
        ]
        scores, found = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return self._padded(scores, self._identities[found], k)

    def save(self, path: str | Path) -> None:
        """Write all entries to a folder; a failure keeps the previous index of the folder."""
        write_snapshot(path, type(self).__name__, *self.snapshot())

    @classmethod
    def load(
        cls: type[Index],
        path: str | Path,
        *,
        mapped: bool = False,
        scan: Scan = "float32",
        device: torch.device | str = "cpu",
    ) -> Index:
        """Read an index that :meth:`save` wrote.

        Args:
            path: the folder.
            mapped: memory-map vectors and payloads, for an index larger than memory; damage is then not detected.
            scan: type of the first comparison.
            device: of the vectors.

        Raises:
            FileNotFoundError: if there is none.
            UserError: if it is damaged or of another format version.
        """
        tensors, content = read_snapshot(path, cls.__name__, mapped=mapped)
        try:
            return cls.from_snapshot(tensors, content, scan=scan, device=device)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"the index at {path} is inconsistent ({error}); save it again") from error

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and other content of the index, for stores that contain one."""
        live = self._live_rows()
        tensors = {"keys": self._keys[live], "identities": self._identities[live]}
        tensors |= {_ATTACHED + name: rows[live] for name, rows in self._attached.items()}
        tensors |= self._payloads.tensors(live)
        return tensors, {"dim": self.dim, "next_identity": self._next_identity, "longest": float(self._longest)}

    @classmethod
    def from_snapshot(
        cls: type[Index],
        tensors: Mapping[str, Tensor],
        content: Mapping[str, Any],
        *,
        scan: Scan = "float32",
        device: torch.device | str = "cpu",
    ) -> Index:
        """Build an index from a :meth:`snapshot`, without copying its tensors."""
        attached = {
            name.removeprefix(_ATTACHED): rows.to(device)
            for name, rows in tensors.items()
            if name.startswith(_ATTACHED)
        }
        index = cls(
            content["dim"], scan=scan, device=device, attached={name: rows[:0] for name, rows in attached.items()}
        )
        index._attached = attached
        keys, identities = tensors["keys"].to(device), tensors["identities"].to(device)
        number, payloads = len(identities), Payloads.of_snapshot(tensors, content)
        numbers = {number, len(payloads), *map(len, attached.values())}
        if keys.shape != (number, index.dim) or keys.dtype != torch.float32 or len(numbers) > 1:
            raise UserError(f"{tuple(keys.shape)} keys of {keys.dtype}, {number} identities, {len(payloads)} payloads")
        if number and (bool((identities.diff() <= 0).any()) or int(identities[-1]) >= content["next_identity"]):
            raise UserError(f"identities must rise and stay below {content['next_identity']}")
        index._num_rows = index._num_live = number
        index._keys, index._identities = keys, identities
        index._live = torch.ones_like(identities, dtype=torch.bool)
        index._payloads, index._next_identity = payloads, content["next_identity"]
        # Older files lack it; a mapped file would be read as a whole.
        longest = content.get("longest")
        index._longest = _longest(keys) if longest is None else torch.tensor(float(longest), device=keys.device)
        if index._rounded is not None and number:
            index._rounded, index._worst = keys.bfloat16(), _worst(keys)
        return index

    def _padded(self, scores: Tensor, identities: Tensor, k: int) -> tuple[Tensor, Tensor]:
        missing = (0, k - scores.shape[1])
        if not missing[1]:
            return scores, identities
        return F.pad(scores, missing, value=-torch.inf), F.pad(identities.to(scores.device), missing, value=-1)

    def _search(self, query: Tensor, rows: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
        if self._rounded is None:
            keys = self._keys[: self._num_rows]
            return running_top_k.search(query, keys, rows, k, own_scores(query, keys, self._longest))
        scanned = query.bfloat16()
        # |q k - q' k'| <= |q| |k - k'| + |q - q'| |k'|, plus the rounding of sums and of the score itself.
        error, length = self._worst
        slack = query.norm(dim=1) * error + (query - scanned.float()).norm(dim=1) * length
        lengths = scanned.float().norm(dim=1) * length
        relative = 0.0
        if self._keys.device.type == "cpu":  # summed in float32 and rounded once
            slack += lengths * self.dim * torch.finfo(torch.float32).eps
            relative = torch.finfo(torch.bfloat16).eps / 2
            relative /= 1 - relative  # of the rounded score
        else:  # partial sums may be rounded too
            slack += lengths / 64

        def exact(which: Tensor, row: Tensor) -> Tensor:
            return inner_products(query.index_select(0, which), self._keys, row)

        rescore = Rescore(exact, slack, relative)
        return running_top_k.search(scanned, self._rounded[: self._num_rows], rows, k, rescore)

    def _live_rows(self) -> Tensor:
        return self._live.nonzero()[:, 0]

    def _searched_rows(self, allowed: Tensor | None) -> Tensor | None:
        """Return the rows to compare, None for all."""
        if allowed is None:
            return None if len(self) == self._num_rows else self._live_rows()
        if allowed.dtype != torch.bool or allowed.shape != (len(self),):
            given = f"{allowed.dtype} {tuple(allowed.shape)}"
            raise UserError(f"allowed must be torch.bool ({len(self)},), one for each entry, got {given}")
        return self._live_rows()[allowed.to(self._live.device)]

    def _rows_of(self, identities: Tensor) -> Tensor:
        known = self._identities[: self._num_rows]
        identities = identities.to(known)
        rows = torch.searchsorted(known, identities)
        # An identity above all others is sorted to the row after the last, hence one row of padding.
        found = F.pad(known, (0, 1), value=-1)[rows] == identities
        found &= F.pad(self._live[: self._num_rows], (0, 1), value=False)[rows]
        if not bool(found.all()):
            raise UserError(f"no entry has the identity {int(identities[~found][0])}; it was removed or never added")
        return rows

    def _reserve(self, total: int) -> None:
        """Allocate rows, at least twice as many as before, so that adding one by one takes linear time."""
        if total > len(self._keys):
            size = max(total, 2 * len(self._keys))
            self._keys, self._identities = _resized(self._keys, size), _resized(self._identities, size)
            self._live = _resized(self._live, size)
            self._attached = {name: _resized(rows, size) for name, rows in self._attached.items()}
            if self._rounded is not None:
                self._rounded = _resized(self._rounded, size)

    def _keep(self, rows: Tensor) -> None:
        self._num_rows = len(rows)
        self._keys, self._identities, self._live = self._keys[rows], self._identities[rows], self._live[rows]
        self._attached = {name: kept[rows] for name, kept in self._attached.items()}
        if self._rounded is not None:
            self._rounded = self._rounded[rows]
        self._payloads.keep(rows)

    def _checked(self, vectors: Tensor, name: str) -> Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or not vectors.is_floating_point():
            raise UserError(
                f"{name} must be floating-point [number, {self.dim}], got {vectors.dtype} {tuple(vectors.shape)}"
            )
        vectors = vectors.detach().to(self._keys)
        # The squared length, not only the values: if it overflows, scores may be inf or inf - inf.
        every = vectors.reshape(-1)
        is_short = isfinite(torch.dot(every, every))  # one pass, and almost always enough
        if not is_short and not bool(vectors.square().sum(1).isfinite().all()):
            raise UserError(f"{name} must be finite and of finite length in float32; drop or scale what is not")
        return vectors

    def _checked_attached(self, attached: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        wanted = {name: (number, *shape) for name, (_, shape) in self.attachments.items()}
        given = {name: tuple(rows.shape) for name, rows in attached.items()}
        if given != wanted:
            raise UserError(f"attached must have the shapes {wanted}, got {given}")
        return {name: rows.detach().to(self._attached[name]) for name, rows in attached.items()}


EXACT_INDEX = Mechanism(
    name="exact_index",
    cls=ExactIndex,
    place="store",
    paper="the external index of retrieval systems such as EMAT and MuRAG",
    arxiv=None,
    objective=("knowledge integration",),
    representation="explicit",
    integration=("associative retrieval",),
    read="exact top-k inner products",
    write="add entries with payloads",
    forget="remove entries",
    capacity="unbounded",
    cost="O(N d) a query",
)


def _resized(rows: Tensor, size: int) -> Tensor:
    larger = rows.new_zeros(size, *rows.shape[1:])
    larger[: len(rows)] = rows
    return larger


def _longest(keys: Tensor) -> Tensor:
    """Return the length of the longest key, 0 without any."""
    return keys.norm(dim=1).amax() if len(keys) else keys.new_zeros(())


def _worst(keys: Tensor) -> Tensor:
    """Return the largest rounding error and the largest length of rounded keys."""
    rounded = keys.bfloat16().float()
    lengths = torch.stack([(keys - rounded).norm(dim=1), rounded.norm(dim=1)])
    return lengths.amax(1) if len(keys) else lengths.new_zeros(2)
