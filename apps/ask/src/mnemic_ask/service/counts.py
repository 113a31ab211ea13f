"""Numbers and latencies of requests."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

KINDS = ("health", "stats", "search", "ask", "upsert", "delete", "pictures")
LATEST = 1000
"""Requests of each kind whose latencies are kept."""


class Counts:
    """Numbers of requests, and latencies of the latest, by kind."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        """Count a request, which ends with the block."""
        kind = kind if kind in KINDS else "other"
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._numbers[kind] += 1
            self._seconds[kind].append(time.perf_counter() - begun)

    @property
    def total(self) -> int:
        """Number of all requests."""
        return self._numbers.total()

    def summary(self) -> dict[str, Any]:
        """Return number and latencies in milliseconds of each kind that was requested."""
        found = {}
        for kind, number in sorted(self._numbers.items()):
            p50, p95 = np.percentile(self._seconds[kind], [50, 95]) * 1000
            found[kind] = {"number": number, "p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}
        return found
