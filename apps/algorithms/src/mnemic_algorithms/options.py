"""Names of machines; a light import for help pages."""

from mnemic_core.listing import memory_names

TRANSFORMER = "transformer"


def machine_names() -> tuple[str, ...]:
    """Return the names of all machines: the memories that fit, and the transformer that sees complete strings."""
    return (*memory_names(lambda entry: entry.fits_strings), TRANSFORMER)
