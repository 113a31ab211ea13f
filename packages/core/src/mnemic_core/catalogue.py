"""Every memory mechanism of the package with its place in the taxonomy; the source of tables, options and tests.

Entries are defined next to their classes and found there, so a new file with an entry in any folder of the package is
offered everywhere. The three axes are those of the review "Memory-Augmented Transformers" (arXiv:2508.10824); the
position of a mechanism on them is this project's reading.
"""

from functools import cache
from importlib import import_module

from mnemic_core.errors import UserError
from mnemic_core.listing import listings, memory_names
from mnemic_core.markdown import markdown_table
from mnemic_core.mechanism import Mechanism


@cache
def list_mechanisms() -> tuple[Mechanism, ...]:
    """Return every mechanism of the package, sorted by place and name.

    Example:
        >>> [mechanism.name for mechanism in list_mechanisms() if mechanism.place == "layer"]
        ['persistent', 'product_key']
    """
    return tuple(_load(listing.name, module) for listing, module in listings())


def find_mechanism(name: str) -> Mechanism:
    """Return the mechanism of that name, or the one with a preset of that name; imports no other.

    Raises:
        UserError: if there is none.
    """
    for listing, module in listings():
        if name in listing.names:
            return _load(listing.name, module)
    raise UserError(f"memory must be one of {', '.join(memory_names())}, got {name!r}")


def mechanism_table() -> str:
    """Return the mechanisms as a Markdown table, as in README and documentation."""
    head = ("name", "class", "source", "objective", "representation", "integration", "read", "write", "forget", "holds")
    rows = []
    for entry in list_mechanisms():
        source = f"[{entry.arxiv}](https://arxiv.org/abs/{entry.arxiv})" if entry.arxiv else entry.paper
        axes = [", ".join(entry.objective), entry.representation, ", ".join(entry.integration)]
        operations = [entry.read, entry.write, entry.forget, entry.capacity]
        rows.append([f"`{entry.name}`", f"`{entry.cls.__name__}`", source, *axes, *operations])
    return markdown_table(head, rows)


def _load(name: str, module: str) -> Mechanism:
    entries = (value for value in vars(import_module(module)).values() if isinstance(value, Mechanism))
    return next(entry for entry in entries if entry.name == name)
