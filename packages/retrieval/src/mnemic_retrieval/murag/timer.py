"""How long the parts of an answer take."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

PARTS = ("encode", "search", "fetch", "read")


class Timer:
    """Adds up the seconds of parts; a part within another one counts for itself alone.

    Example:
        >>> timer = Timer()
        >>> with timer.timing("search"):
        ...     pass
        >>> sorted(timer.shares(2))
        ['encode', 'fetch', 'read', 'search']
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._inner = 0.0

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        begun, outer, self._inner = time.perf_counter(), self._inner, 0.0
        yield
        spent = time.perf_counter() - begun
        self._seconds[part] += spent - self._inner
        self._inner = outer + spent

    def shares(self, number: int) -> Mapping[str, float]:
        """Return the seconds of each part for one of several questions."""
        return {part: seconds / number for part, seconds in self._seconds.items()}
