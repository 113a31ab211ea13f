"""Libraries that only some parts need."""

from importlib import import_module
from typing import Any


def optional_library(name: str, extra: str) -> Any:
    """Return a library that comes with an extra of this package.

    Raises:
        ImportError: it is not installed, with the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs {name.partition('.')[0]}; install it with `pip install mnemic-retrieval[{extra}]`"
        ) from error
