"""A large memory on disk (LanceDB): filling it, opening it in a new process, and searches with and without filters.

Vectors have width 256 and are combinations of 32 directions with some noise, as those of networks are: an index cannot
tell apart vectors that fill all directions alike, and no encoder makes such. Items have a text and a number between 0
and 1, by which filters choose. The memory is filled in pieces, as a program would that encodes them. ``opening`` is the
time of new processes without the imports, and what they read from files until then, from the cache of the system or
not. Times of searches are medians; recall is that against the scan of all items.

    python benchmarks/memory_store.py --items 200000
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common.report import run
from common.timing import time_in_turn
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import check_at_least
from mnemic_retrieval.store import Between, Hit, Item, LanceStore, StoreSettings

DIM, K, DIRECTIONS, NOISE = 256, 10, 32, 0.05
SELECTIVITIES = (0.5, 0.01, 0.0001)
OPEN = """
import json, sys, time
import lancedb, torch
from mnemic_retrieval.store import LanceStore
def read():
    lines = dict(line.split(": ") for line in open("/proc/self/io"))
    return int(lines["rchar"])
query = torch.tensor(json.loads(sys.argv[2]))
begun, before = time.perf_counter(), read()
store = LanceStore.open(sys.argv[1])
opened, after = time.perf_counter(), read()
store.search(query, 10)
searched = time.perf_counter()
print(json.dumps({"open_s": opened - begun, "with_search_s": searched - begun, "open_bytes": after - before,
                  "with_search_bytes": read() - before}))
"""


def vectors(number: int, seed: int) -> Tensor:
    """Return unit vectors near a subspace."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(DIRECTIONS, DIM, generator=torch.Generator().manual_seed(0)) / DIRECTIONS**0.5
    made = torch.randn(number, DIRECTIONS, generator=generator) @ directions
    return F.normalize(made + NOISE * torch.randn(number, DIM, generator=generator), dim=1)


def pieces(items: int, piece: int) -> Iterator[list[Item]]:
    """Yield the items in groups."""
    for start in range(0, items, piece):
        made = vectors(min(piece, items - start), 1 + start)
        places = torch.rand(len(made), generator=torch.Generator().manual_seed(1 + start)).tolist()
        yield [
            Item(f"item {start + number}", vector, text=f"text of item {start + number}", metadata={"place": place})
            for number, (vector, place) in enumerate(zip(made, places, strict=True))
        ]


def fill(store: LanceStore, items: int, piece: int) -> dict[str, float]:
    """Return the time of adding all items, without that of making them, and of the last piece."""
    times = []
    for part in pieces(items, piece):
        begun = time.perf_counter()
        store.upsert(part)
        times.append(time.perf_counter() - begun)
    return {
        "s": round(sum(times), 1),
        "items_per_s": round(items / sum(times)),
        "first_piece_s": round(times[0], 2),
        "last_piece_s": round(times[-1], 2),
    }


def seconds(call: Callable[[], object]) -> float:
    """Return the time of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def opening(folder: Path, processes: int) -> dict[str, Any]:
    """Return times and bytes read of new processes that open a memory and search once."""
    command = [sys.executable, "-c", OPEN, str(folder), json.dumps(vectors(1, 0).tolist())]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(processes)
    ]
    medians = {name: statistics.median(each[name] for each in found) for name in found[0]}
    slowest = max(each["with_search_s"] for each in found)
    return {**{name: round(value, 4) for name, value in medians.items()}, "slowest_with_search_s": round(slowest, 4)}


def recall(found: list[list[Hit]], best: list[list[Hit]]) -> float:
    """Return the share of the best items that were found."""
    pairs = [
        ({hit.item.id for hit in one}, {hit.item.id for hit in other}) for one, other in zip(found, best, strict=True)
    ]
    return sum(len(one & other) for one, other in pairs) / sum(len(other) for _, other in pairs)


def searches(store: LanceStore, queries: Tensor, repetitions: int) -> dict[str, Any]:
    """Return times of one query and recalls of all, for all items and for shares of them."""
    filters = {"all": None} | {str(share): Between("place", high=share) for share in SELECTIVITIES}
    turns = {name: iter(range(10**9)) for name in filters}

    def call(name: str, *, exact: bool) -> list[list[Hit]]:
        query = queries[next(turns[name]) % len(queries)]  # another one each time
        return store.search(query[None], K, filters[name], exact=exact)

    calls = {
        f"{name}{', exact' if exact else ''}": lambda name=name, exact=exact: call(name, exact=exact)
        for name in filters
        for exact in (False, True)
    }
    times = time_in_turn(calls, repetitions)
    return {
        name: {
            "items": store.count(where),
            "ms": round(1000 * times[name]["median_s"], 2),
            "exact_ms": round(1000 * times[f"{name}, exact"]["median_s"], 2),
            "recall": round(recall(store.search(queries, K, where), store.search(queries, K, where, exact=True)), 4),
        }
        for name, where in filters.items()
    }


def changes(store: LanceStore, repetitions: int) -> dict[str, float]:
    """Return median times of reading, replacing and removing 100 items by their ids."""
    spent: dict[str, list[float]] = {"get_ms": [], "upsert_ms": [], "delete_ms": []}
    for turn in range(repetitions):
        names = [f"item {turn + 7 * number}" for number in range(100)]
        known = [item for item in store.get(names) if item is not None]
        for name, call in (
            ("get_ms", lambda names=names: store.get(names)),
            ("upsert_ms", lambda known=known: store.upsert(known)),
            ("delete_ms", lambda names=names: store.delete(names)),
        ):
            spent[name].append(1000 * seconds(call))
        store.upsert(known)
    return {name: round(statistics.median(times), 1) for name, times in spent.items()}


def memory_store(
    items: int = 1_000_000,
    piece: int = 20_000,
    queries: int = 64,
    repetitions: int = 7,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Measure a memory on disk.

    Args:
        items: in the memory.
        piece: items that are added at a time.
        queries: by which recall is measured.
        repetitions: turns of each search, and processes that open the memory.
        folder: where a folder with the memory is made and removed; None: that of temporary files.
    """
    check_at_least(10_000, items=items)
    with TemporaryDirectory(dir=folder) as name:
        path = Path(name, "memory")
        store = LanceStore.create(path, StoreSettings(DIM, fields={"place": "float"}))
        filled = fill(store, items, piece)
        before = {"opening": opening(path, repetitions), "changes of 100": changes(store, 3)}
        optimized = seconds(store.optimize)
        return {
            "items": items,
            "dim": DIM,
            "k": K,
            "bytes_of_vectors": 4 * DIM * items,
            "fill": filled,
            "before optimize": before,
            "optimize_s": round(optimized, 2),
            "optimize_again_s": round(seconds(store.optimize), 2),
            "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
            "opening": opening(path, repetitions),
            "searches": searches(store, vectors(queries, 0), repetitions),
            "changes of 100": changes(store, 3),
        }


if __name__ == "__main__":
    run(memory_store, packages=("lancedb", "pyarrow"))
