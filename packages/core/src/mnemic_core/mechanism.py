"""The catalogue entry of a mechanism."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Literal, get_args

from mnemic_core.listing import SEQUENCE_PLACES, Listing
from mnemic_core.memory import Detach, ReadWriteMemory, SegmentMemory

Objective = Literal["context extension", "reasoning", "knowledge integration", "adaptation", "ablation"]
Representation = Literal["parameter-encoded", "state-based", "explicit", "hybrid", "none"]
Integration = Literal["attention fusion", "gated control", "associative retrieval", "none"]
SMALL_DIM = 4


@dataclass(frozen=True)
class Sizes:
    """Sizes at which memories are compared.

    Args:
        dim: width of tokens; a multiple of ``2 * num_heads``.
        stored: vectors, slots or tokens that a memory keeps, where its size can be chosen.
        segment_length: tokens of a segment.
        num_layers: layers of complete models.
        num_heads: attention heads.
    """

    dim: int = 32
    stored: int = 32
    segment_length: int = 16
    num_layers: int = 1
    num_heads: int = 4


@dataclass(frozen=True, kw_only=True)
class Mechanism(Listing):
    """One memory mechanism, defined in the file of its class.

    Attributes:
        cls: the class, ``(dim, *, options)`` for a memory; the function of a selector.
        paper: title and venue of the paper that it follows.
        arxiv: arXiv number of the paper; None if there is none.
        objective: purposes of the memory, the main one first.
        representation: where content is stored.
        integration: how it enters a model.
        read: what reading does.
        write: what writing does.
        forget: how content is lost.
        capacity: what one row can hold.
        cost: arithmetic of a segment of T tokens of width d in one row; M, K, N count what is stored.
        bytes_per_row: size of the state in float32 as an expression of the constructor's arguments; empty if none.
        small: options of an instance small enough for any test.
        sized: options of an instance of about the given sizes.
        size_option: the option that sets the capacity, if weights do not depend on it.
    """

    cls: Callable[..., Any]
    paper: str
    arxiv: str | None
    objective: tuple[Objective, ...]
    representation: Representation
    integration: tuple[Integration, ...]
    read: str
    write: str
    forget: str
    capacity: str
    cost: str
    bytes_per_row: str = ""
    small: Mapping[str, Any] = field(default_factory=dict)
    sized: Callable[[Sizes], dict[str, Any]] = lambda _sizes: {}
    size_option: str | None = None

    def __post_init__(self) -> None:
        # Help texts list memories from the source alone, so what they need is stated twice and compared here.
        kind: type = self.cls if isinstance(self.cls, type) else object
        if self.place in SEQUENCE_PLACES and not issubclass(kind, SegmentMemory):
            raise TypeError(
                f"{self.name!r} processes sequences (place {self.place}), so its class must be a SegmentMemory: "
                "a class with the same methods would escape the contract"
            )
        if self.is_read_write != issubclass(kind, ReadWriteMemory):
            raise TypeError(f"{self.name!r} must state is_read_write={not self.is_read_write}, as its class is")

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that a configuration can set; a wrapped model is not one."""
        return tuple(name for name in signature(self.cls).parameters if name not in {"dim", "host"})

    @property
    def detach(self) -> tuple[Detach, ...]:
        """Gradient policies that it offers, its default first; empty without a state."""
        if not self.is_recurrent:
            return ()
        option = signature(self.cls).parameters.get("detach")
        default: Detach = self.build_small().detach if option is None else option.default
        return (default,) if option is None else (default, *(each for each in get_args(Detach) if each != default))

    def build_small(self, **options: Any) -> Any:
        """Return a small instance for tests; ``options`` override those of the entry."""
        width = {"dim": SMALL_DIM} if "dim" in signature(self.cls).parameters else {}
        return self.cls(**width, **{**self.small, **options})
