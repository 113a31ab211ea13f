"""Options that several commands share; importing them is quick, as their help pages need it."""

from mnemic_core.listing import memory_names

TRANSFORMER = "transformer"


def machine_names() -> tuple[str, ...]:
    """Return the names of all machines: the memories that fit, and the transformer that sees whole strings."""
    return (*memory_names(lambda entry: entry.fits_strings), TRANSFORMER)
