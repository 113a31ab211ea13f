"""Base classes of memories, with the steps that all of them share."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.state import Device, MemoryState

S = TypeVar("S", bound=MemoryState)

Detach = Literal["never", "stored"]


class SegmentMemory(nn.Module, ABC, Generic[S]):
    """A module that processes segments and carries a state from one to the next.

    A mechanism implements ``init_state`` and ``_run_segment``, neither of which changes its arguments.
    :meth:`forward` does what all have in common: it checks tokens and state, resets rows, keeps the state of a segment
    without tokens, fills padding with zeros and detaches what is stored.

    Args:
        dim: width of tokens.
        detach: ``"never"`` lets gradients cross segments (a driver may still cut them), ``"stored"`` detaches what
            is stored.

    Attributes:
        out_dim: width of outputs, ``dim`` by default.
        state_class: class of the states, taken from the type argument of the base class.
    """

    state_class: ClassVar[type[MemoryState]] = MemoryState

    def __init_subclass__(cls, **options: Any) -> None:
        """Set ``state_class`` from the type argument of the base class."""
        super().__init_subclass__(**options)
        arguments = [argument for base in cls.__dict__.get("__orig_bases__", ()) for argument in get_args(base)]
        for argument in arguments:
            if isinstance(argument, type) and issubclass(argument, MemoryState):
                cls.state_class = argument

    def __init__(self, dim: int, detach: Detach) -> None:
        super().__init__()
        check_at_least(1, dim=dim)
        check_choice(Detach, detach=detach)
        self.dim = dim
        self.out_dim = dim
        self.detach: Detach = detach

    @abstractmethod
    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> S:
        """Return the deterministic initial state of ``batch`` rows; gradients reach what is learned of it."""

    @abstractmethod
    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: S, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], S]:
        """Return outputs and new state of a segment of at least one token, with zeros at padding."""

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: S,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
        **options: Any,
    ) -> tuple[Float[Tensor, "batch time out_dim"], S]:
        """Run one segment.

        Args:
            x: the tokens of the segment.
            state: what earlier segments left.
            padding: True at tokens to ignore, anywhere in the row; outputs there have no meaning.
            reset: True at rows that begin a new sequence with this segment.
            options: further keyword arguments of the mechanism, documented at its ``_run_segment``.

        Returns:
            The output for every token, and the new state.

        Raises:
            TypeError: if the state is that of another memory.
            UserError: if tokens, state and memory do not fit together.
        """
        self._check(x, state)
        if reset is not None:
            state = self.reset(state, reset)
        if x.shape[1] == 0:
            return x.new_zeros(len(x), 0, self.out_dim), state
        if padding is not None:
            x = self._blank(x, padding)
        output, state = self._run_segment(x, state, padding, **options)
        # Only what leaves the segment is detached: a learned initial state gets its gradient from the first segment.
        return output, state.map(self._stored) if self.detach == "stored" else state

    def reset(self, state: S, rows: Bool[Tensor, " batch"]) -> S:
        """Return the state with the given rows as :meth:`init_state` makes them."""
        return state.replace_rows(rows, self.init_state(state.batch_size, device=state.device))

    def report(self, state: S) -> MemoryReport:
        """Return how the memory is used: slots, diversity and ages."""
        with torch.no_grad():
            return memory_report(state)

    def _check(self, x: Float[Tensor, "batch time width"], state: S) -> None:
        """Raise if tokens, state and memory do not fit together; mechanisms extend it for their sizes."""
        if not isinstance(state, self.state_class):
            raise TypeError(
                f"{type(self).__name__} works with a {self.state_class.__name__}, got a {type(state).__name__}; "
                "make one with init_state"
            )
        if x.shape[2] != self.dim or x.shape[0] != state.batch_size:
            raise UserError(
                f"expected tokens of width {self.dim} in {state.batch_size} rows, got width {x.shape[2]} in "
                f"{x.shape[0]} rows; build the state with init_state(batch={x.shape[0]})"
            )

    def _blank(
        self, x: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time dim"]:
        """Return the tokens with zeros at padding."""
        # Padding may hold NaN, and 0 * NaN is NaN: masking attention weights is not enough.
        return x.masked_fill(padding[..., None], 0)

    def _stored(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        return tensor.detach() if self.detach == "stored" else tensor


class ReadWriteMemory(SegmentMemory[S]):
    """A memory that each segment reads first and then writes.

    A mechanism implements ``init_state``, ``read``, ``read_weights`` and ``write``.

    Attributes:
        writes_compose: True if writing a sequence at once gives the same state as writing it in parts.
    """

    writes_compose: ClassVar[bool] = True

    @abstractmethod
    def read(self, query: Float[Tensor, "batch time dim"], state: S) -> Float[Tensor, "batch time dim"]:
        """Return what each query recalls."""

    @abstractmethod
    def read_weights(self, query: Float[Tensor, "batch time dim"], state: S) -> Float[Tensor, "batch time slot"]:
        """Return the weight of each slot in what :meth:`read` returns."""

    @abstractmethod
    def write(
        self,
        state: S,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> S:
        """Return the state after a segment; ``padding`` is True at values to ignore, which may be NaN."""

    def report(self, state: S, query: Float[Tensor, "batch time dim"] | None = None) -> MemoryReport:
        """Return how the memory is used: slots and ages, and with a query also what reading attends to."""
        with torch.no_grad():
            return memory_report(state, None if query is None else self.read_weights(query, state))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: S, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], S]:
        return self.read(x, state), self.write(state, x, padding=padding)
