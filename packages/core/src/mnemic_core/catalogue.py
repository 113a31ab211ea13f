"""Every memory mechanism of the package with its place in the taxonomy; the source of tables, options and tests.

The three axes are those of the review "Memory-Augmented Transformers" (arXiv:2508.10824); where a mechanism stands on
them is this project's reading. The entries themselves are in `mechanisms`.
"""

from typing import Any

from mnemic_core.errors import UserError
from mnemic_core.markdown import markdown_table
from mnemic_core.mechanism import Mechanism
from mnemic_core.mechanisms import MECHANISMS
from mnemic_core.memory import ReadWriteMemory


def list_mechanisms() -> tuple[Mechanism, ...]:
    """Return every mechanism of the package.

    Example:
        >>> [mechanism.name for mechanism in list_mechanisms() if mechanism.place == "layer"]
        ['product_key', 'persistent']
    """
    return MECHANISMS


def find_mechanism(name: str) -> Mechanism:
    """Return the mechanism of that name.

    Raises:
        UserError: if there is none.
    """
    by_name = {mechanism.name: mechanism for mechanism in MECHANISMS}
    if name not in by_name:
        raise UserError(f"memory must be one of {', '.join(by_name)}, got {name!r}")
    return by_name[name]


def create(name: str, dim: int, **options: Any) -> ReadWriteMemory[Any]:
    """Build a memory that is read and written by its name, as a configuration file does.

    Args:
        name: one of the names in :func:`list_mechanisms`.
        dim: width of queries and values.
        options: further constructor arguments of the mechanism.

    Raises:
        UserError: if there is no such mechanism, it is of another kind, or it has no such option.

    Example:
        >>> create("window", dim=8, capacity=4).capacity
        4
    """
    mechanism = find_mechanism(name)
    if not mechanism.is_read_write:
        known = ", ".join(entry.name for entry in MECHANISMS if entry.is_read_write)
        raise UserError(f"memory must be one that is read and written ({known}), got {name!r}")
    try:
        memory: ReadWriteMemory[Any] = mechanism.cls(dim, **options)
        return memory
    except TypeError as error:
        raise UserError(f"memory {name!r} cannot be built with the options {options}: {error}") from error


def mechanism_table() -> str:
    """Return the mechanisms as a Markdown table; README and documentation show it and a test compares them."""
    head = ("name", "class", "source", "objective", "representation", "integration", "read", "write", "forget", "holds")
    rows = []
    for entry in MECHANISMS:
        source = f"[{entry.arxiv}](https://arxiv.org/abs/{entry.arxiv})" if entry.arxiv else entry.paper
        axes = [", ".join(entry.objective), entry.representation, ", ".join(entry.integration)]
        operations = [entry.read, entry.write, entry.forget, entry.capacity]
        rows.append([f"`{entry.name}`", f"`{entry.cls.__name__}`", source, *axes, *operations])
    return markdown_table(head, rows)


def cost_table() -> str:
    """Return place, cost, size and gradient policy of the mechanisms as a Markdown table."""
    head = ("name", "place", "causal", "cost of a segment", "bytes of a row's state", "gradients of what is stored")
    rows = []
    for entry in MECHANISMS:
        size = f"`{entry.bytes_per_row}`" if entry.bytes_per_row else "no state"
        policies = {"stored": "none", "never": "all"}
        policy = ", ".join(policies[name] for name in entry.detach) or "-"
        rows.append([f"`{entry.name}`", entry.place, "yes" if entry.is_causal else "no", entry.cost, size, policy])
    return markdown_table(head, rows)
