"""Quick starts."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look for garbage rarely in the block: imports make a million objects and no garbage, and looking takes a quarter.

    Training in the block has `usual_collection`: cycles that hold activations should not wait.
    """
    gc.set_threshold(100_000, *_USUAL[1:])
    try:
        yield
    finally:
        usual_collection()


def usual_collection() -> None:
    """Look for garbage as often as Python does by itself."""
    gc.set_threshold(*_USUAL)
