"""The families of memory and what each must offer.

Recurrent memories (:class:`SegmentModule`, :class:`Memory`, :class:`TokenMachine`) take a state and return the next
one. Parametric layers hold what they know in their weights, stores live outside the computation, selectors are
functions; forcing those into the form of the first would give them states without content.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mnemic_core.state import MemoryState, SlotView

S = TypeVar("S", bound=MemoryState)

Detach = Literal["never", "stored"]


@runtime_checkable
class SegmentModule(Protocol[S]):
    """Works through a sequence segment by segment and carries a state: ``(x, state) -> (y, state)``.

    Attributes:
        dim: width of tokens.
        detach: ``"never"`` lets gradients cross every segment (a driver may still cut them), ``"stored"`` gives
            nothing that is stored a gradient.
    """

    dim: int
    detach: Detach

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """Return a fresh state of ``batch`` rows: deterministic, and differentiable where a paper learns it."""
        ...

    def __call__(
        self,
        x: Float[Tensor, "batch time dim"],
        state: S,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], S]:
        """Run one segment; ``padding`` is True at tokens to ignore, ``reset`` at rows that begin afresh."""
        ...


@runtime_checkable
class Memory(SegmentModule[S], Protocol[S]):
    """A segment module whose memory can also be read and written on its own.

    Attributes:
        writes_compose: True if writing a sequence at once leaves the same state as writing it piece by piece.
    """

    writes_compose: bool

    def read(self, query: Float[Tensor, "batch time dim"], state: S) -> Float[Tensor, "batch time dim"]:
        """Return what each query recalls; the state stays as it is."""
        ...

    def write(
        self,
        state: S,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> S:
        """Return the state after a segment; ``padding`` is True at values to ignore."""
        ...

    def reset(self, state: S, rows: Bool[Tensor, " batch"]) -> S:
        """Return the state with the given rows as ``init_state`` makes them."""
        ...


@runtime_checkable
class TokenMachine(Protocol[S]):
    """Works token by token, because each step depends on what the one before did to the memory (NTM, stack, tape)."""

    dim: int

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """Return a fresh state of ``batch`` rows."""
        ...

    def step(self, x: Float[Tensor, "batch dim"], state: S) -> tuple[Float[Tensor, "batch dim"], S]:
        """Run one token of every row."""
        ...


@runtime_checkable
class ParametricLayer(Protocol):
    """A layer that remembers in its weights (product keys, persistent keys and values): no state, just ``x -> y``."""

    def __call__(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Return what the weights recall for each token."""
        ...

    def param_groups(self, lr_scale: float) -> list[dict[str, Any]]:
        """Return optimiser groups: memory values, seldom touched, learn ``lr_scale`` times faster than the rest."""
        ...


@runtime_checkable
class Store(Protocol):
    """A searchable collection outside the computation: host-side, versioned on disk, without gradients."""

    def __len__(self) -> int:
        """Return the number of entries."""
        ...

    def add(self, keys: Float[Tensor, "entry dim"], payloads: Sequence[Mapping[str, Any]]) -> Int[Tensor, " entry"]:
        """Add entries and return their identities."""
        ...

    def remove(self, identities: Int[Tensor, " entry"]) -> None:
        """Remove entries; an unknown identity is an error."""
        ...

    def search(
        self, query: Float[Tensor, "query dim"], k: int
    ) -> tuple[Float[Tensor, "query k"], Int[Tensor, "query k"]]:
        """Return scores, best first, and identities of the ``k`` nearest entries; ties go to the older entry."""
        ...

    def save(self, path: str | Path) -> None:
        """Write all entries with a format version."""
        ...


@runtime_checkable
class Selector(Protocol):
    """A function that chooses which tokens of a document are worth remembering (GEMFormer)."""

    def __call__(
        self,
        logits: Float[Tensor, "batch time vocabulary"],
        ids: Int[Tensor, "batch time"],
        candidates: Bool[Tensor, "batch time"],
    ) -> list[Shaped[Tensor, " token"]]:
        """Return the chosen token ids of each document; ``candidates`` is True where a token may be chosen."""
        ...


@runtime_checkable
class Slotted(Protocol):
    """A state that can show its content as slots, and so be reported on."""

    def slots(self) -> SlotView:
        """Return content, validity and age of the slots."""
        ...
