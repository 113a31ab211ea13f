"""What the catalogue says of a mechanism."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mnemic_core.memory import Detach, ReadWriteMemory, SegmentMemory

Objective = Literal["context extension", "reasoning", "knowledge integration", "adaptation", "ablation"]
Representation = Literal["parameter-encoded", "state-based", "explicit", "hybrid", "none"]
Integration = Literal["attention fusion", "gated control", "associative retrieval", "none"]
Place = Literal["attention", "beside", "model", "stack", "machine", "layer", "store", "selector"]

SEQUENCE_PLACES: frozenset[Place] = frozenset({"attention", "beside", "model", "stack", "machine"})


@dataclass(frozen=True)
class Mechanism:
    """One memory mechanism.

    Attributes:
        name: what configurations call it.
        cls: the class, or the function of a selector.
        place: where it stands in a model: instead of the ``attention`` of a block, ``beside`` it, around a whole
            ``model``; a ``stack`` is a whole model itself; a token ``machine``, a parametric ``layer``, a ``store`` or
            a ``selector`` stand alone.
        paper: title of the paper that it follows, and where.
        arxiv: identity of the paper on arXiv; None if it follows none.
        objective: what the memory is for, the main one first.
        representation: where it lives.
        integration: how it enters a model.
        read: what reading does.
        write: what writing does.
        forget: how content is lost.
        capacity: how much fits into one row.
        cost: arithmetic of a segment of T tokens of width d in one row; M, K, N are what is stored.
        bytes_per_row: size of the state in float32 as an expression of the constructor's arguments; empty without.
        detach: the gradient policies that it offers, its default first; none for what carries no state.
        small: constructor arguments of an instance that is small enough for any test, or a function that makes them
            where they are modules, which no two instances may share.
        is_causal: False if a token may see later ones of its segment, so that it suits encoders only.
        exceptions: rules of the contract that it cannot keep, by their number, each with the reason.
    """

    name: str
    cls: Callable[..., Any]
    place: Place
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
    bytes_per_row: str = field(default="", kw_only=True)
    detach: tuple[Detach, ...]
    small: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    is_causal: bool = True
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.place in SEQUENCE_PLACES and not self.is_recurrent:
            raise TypeError(
                f"{self.name!r} stands in a sequence ({self.place}), so its class must be a SegmentMemory: "
                "what only looks like one would escape the contract"
            )

    @property
    def is_recurrent(self) -> bool:
        """Whether it carries a state from segment to segment, and so is under the contract."""
        return isinstance(self.cls, type) and issubclass(self.cls, SegmentMemory)

    @property
    def is_read_write(self) -> bool:
        """Whether it can be read and written on its own."""
        return isinstance(self.cls, type) and issubclass(self.cls, ReadWriteMemory)

    @property
    def is_segment_memory(self) -> bool:
        """Whether it can stand in a transformer that works segment by segment."""
        return self.is_recurrent and self.place in {"attention", "beside", "model", "stack"}

    def build(self, **overrides: Any) -> Any:
        """Return a small instance for tests; ``overrides`` replace its constructor arguments."""
        return self.cls(**{**self.arguments(), **overrides})

    def arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of a small instance."""
        return dict(self.small() if callable(self.small) else self.small)
