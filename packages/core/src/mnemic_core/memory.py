"""The base of memories that are read and written: what they share, said once."""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_core.protocols import Detach
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.state import MemoryState

S = TypeVar("S", bound=MemoryState)


class SegmentMemory(nn.Module, ABC, Generic[S]):
    """A module that works through segments and carries a state: the base of every mechanism with a memory in time.

    A mechanism fills in ``init_state`` and ``forward``; both leave their arguments as they are.

    Args:
        dim: width of tokens.
        detach: ``"never"`` lets gradients cross every segment (a driver may still cut them), ``"stored"`` gives
            nothing that is stored a gradient.

    Attributes:
        out_dim: width of outputs, ``dim`` where a mechanism does not say otherwise.
    """

    def __init__(self, dim: int, detach: Detach) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"dim must be at least 1, got {dim}")
        if detach not in get_args(Detach):
            raise UserError(f"detach must be one of {', '.join(get_args(Detach))}, got {detach!r}")
        self.dim = dim
        self.out_dim = dim
        self.detach: Detach = detach

    @abstractmethod
    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """Return a fresh state of ``batch`` rows."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: S,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out_dim"], S]:
        """Run one segment.

        Args:
            x: the tokens of the segment.
            state: what earlier segments left.
            padding: True at tokens to ignore; outputs there have no meaning.
            reset: True at rows that begin a new sequence with this segment.

        Returns:
            The output for every token, and the new state.
        """

    def reset(self, state: S, rows: Bool[Tensor, " batch"]) -> S:
        """Return the state with the given rows as :meth:`init_state` makes them."""
        return state.replace_rows(rows, self.init_state(state.batch_size, device=state.device))

    def report(self, state: S) -> MemoryReport:
        """Return how the memory is used: slots, diversity and ages."""
        with torch.no_grad():
            return memory_report(state)

    def _stored(self, tensor: Tensor) -> Tensor:
        return tensor.detach() if self.detach == "stored" else tensor


class ReadWriteMemory(SegmentMemory[S]):
    """A memory whose step is: start the given rows afresh, read, then write.

    A mechanism fills in ``init_state``, ``read``, ``read_weights`` and ``write``; all of them leave their arguments
    as they are.
    """

    writes_compose: ClassVar[bool] = True

    @abstractmethod
    def read(self, query: Float[Tensor, "batch time dim"], state: S) -> Float[Tensor, "batch time dim"]:
        """Return what each query recalls; the state stays as it is."""

    @abstractmethod
    def read_weights(self, query: Float[Tensor, "batch time dim"], state: S) -> Float[Tensor, "batch time slot"]:
        """Return how much of each slot enters what each query recalls, as :meth:`read` weighs them."""

    @abstractmethod
    def write(
        self,
        state: S,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> S:
        """Return the state after a segment; ``padding`` is True at values to ignore."""

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: S,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], S]:
        """Run one segment: reset, read, write.

        Args:
            x: the segment, both the queries and the values to write.
            state: what earlier segments left.
            padding: True at tokens to ignore; outputs there have no meaning.
            reset: True at rows that begin a new sequence with this segment.

        Returns:
            What every token recalls of the segments before this one, and the new state.
        """
        if reset is not None:
            state = self.reset(state, reset)
        return self.read(x, state), self.write(state, x, padding=padding)

    def report(self, state: S, query: Float[Tensor, "batch time dim"] | None = None) -> MemoryReport:
        """Return how the memory is used: slots and ages, and with a query also what reading attends to."""
        with torch.no_grad():
            return memory_report(state, None if query is None else self.read_weights(query, state))
