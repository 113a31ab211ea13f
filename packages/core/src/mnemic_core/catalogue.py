"""Every memory mechanism of the package with its place in the taxonomy; the source of tables, options and tests.

The three axes are those of the review "Memory-Augmented Transformers" (arXiv:2508.10824); where a mechanism stands on
them is this project's reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mnemic_core.buffers.window_memory import WindowMemory
from mnemic_core.memory import ReadWriteMemory
from mnemic_core.protocols import Detach
from mnemic_core.slots.exponential_memory import ExponentialMemory
from mnemic_core.slots.no_memory import NoMemory

Objective = Literal["context extension", "reasoning", "knowledge integration", "adaptation", "ablation"]
Representation = Literal["parameter-encoded", "state-based", "explicit", "hybrid", "none"]
Integration = Literal["attention fusion", "gated control", "associative retrieval", "none"]


@dataclass(frozen=True)
class Mechanism:
    """One memory mechanism.

    Attributes:
        name: what configurations call it.
        cls: the class.
        paper: title of the paper that it follows, and where.
        arxiv: identity of the paper on arXiv; None if it follows none.
        objective: what the memory is for, the main one first.
        representation: where it lives.
        integration: how it enters a model.
        read: what reading does.
        write: what writing does.
        forget: how content is lost.
        capacity: how much fits into one row.
        detach: the gradient policies that it offers, its default first.
        small: constructor arguments of an instance that is small enough for any test.
    """

    name: str
    cls: type[ReadWriteMemory[Any]]
    paper: str
    arxiv: str | None
    objective: tuple[Objective, ...]
    representation: Representation
    integration: tuple[Integration, ...]
    read: str
    write: str
    forget: str
    capacity: str
    detach: tuple[Detach, ...]
    small: Mapping[str, Any] = field(default_factory=dict)

    def build(self, **overrides: Any) -> ReadWriteMemory[Any]:
        """Return a small instance for tests; ``overrides`` replace its constructor arguments."""
        return self.cls(**{**self.small, **overrides})


_MECHANISMS = (
    Mechanism(
        name="exponential",
        cls=ExponentialMemory,
        paper="MeMOTR: Long-Term Memory-Augmented Transformer for Multi-Object Tracking (ICCV 2023)",
        arxiv="2307.15700",
        objective=("context extension", "adaptation"),
        representation="state-based",
        integration=("attention fusion", "gated control"),
        read="the vector of the row",
        write="exponential average",
        forget="by a constant share with every write",
        capacity="1 vector",
        detach=("stored", "never"),
        small={"dim": 4, "decay": 0.3},
    ),
    Mechanism(
        name="window",
        cls=WindowMemory,
        paper="Transformer-XL: Attentive Language Models beyond a Fixed-Length Context (ACL 2019), its memory alone",
        arxiv="1901.02860",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="scaled dot-product attention",
        write="append",
        forget="first in, first out",
        capacity="`capacity` vectors",
        detach=("stored", "never"),
        small={"dim": 4, "capacity": 3},
    ),
    Mechanism(
        name="none",
        cls=NoMemory,
        paper="the ablation without memory",
        arxiv=None,
        objective=("ablation",),
        representation="none",
        integration=("none",),
        read="the query itself",
        write="nothing",
        forget="everything, at once",
        capacity="0",
        detach=("stored",),
        small={"dim": 4},
    ),
)


def list_mechanisms() -> tuple[Mechanism, ...]:
    """Return every mechanism of the package.

    Example:
        >>> [mechanism.name for mechanism in list_mechanisms()]
        ['exponential', 'window', 'none']
    """
    return _MECHANISMS


def create(name: str, dim: int, **options: Any) -> ReadWriteMemory[Any]:
    """Build a memory by its name, as a configuration file does.

    Args:
        name: one of the names in :func:`list_mechanisms`.
        dim: width of queries and values.
        options: further constructor arguments of the mechanism.

    Raises:
        ValueError: if there is no such mechanism or it has no such option.

    Example:
        >>> create("window", dim=8, capacity=4).capacity
        4
    """
    by_name = {mechanism.name: mechanism for mechanism in _MECHANISMS}
    if name not in by_name:
        raise ValueError(f"memory must be one of {', '.join(by_name)}, got {name!r}")
    try:
        return by_name[name].cls(dim, **options)
    except TypeError as error:
        raise ValueError(f"memory {name!r} cannot be built with the options {options}: {error}") from error


def mechanism_table() -> str:
    """Return the mechanisms as a Markdown table; README and documentation show it and a test compares them."""
    head = ("name", "class", "source", "objective", "representation", "integration", "read", "write", "forget", "holds")
    lines = [_row(head), _row(["---"] * len(head))]
    for entry in _MECHANISMS:
        source = f"[{entry.arxiv}](https://arxiv.org/abs/{entry.arxiv})" if entry.arxiv else entry.paper
        axes = [", ".join(entry.objective), entry.representation, ", ".join(entry.integration)]
        operations = [entry.read, entry.write, entry.forget, entry.capacity]
        lines.append(_row([f"`{entry.name}`", f"`{entry.cls.__name__}`", source, *axes, *operations]))
    return "\n".join(lines)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
