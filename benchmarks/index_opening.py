"""Time until a large index in a file, memory-mapped, answers: opening it, reading a payload, and a first search.

Each figure is the median over new processes, without imports; the file is in the cache of the system. The first search
reads all vectors. Payloads are those of items with a text.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common.report import run
from torch.nn import functional as F

from mnemic_core.errors import check_at_least
from mnemic_core.stores import ExactIndex, KeyValueMemory

DIM, SLOT_DIM = 256, 64
OPEN = """
import json, sys, time
import torch
from mnemic_core import stores
kind = getattr(stores, sys.argv[1])
begun = time.perf_counter()
store = kind.load(sys.argv[2], mapped=True)
opened = time.perf_counter()
store.payload(len(store) // 2)
read = time.perf_counter()
store.search(torch.ones(1, int(sys.argv[3])) / 16, 10)
print(json.dumps({"open_s": opened - begun, "payload_s": read - opened, "first_search_s": time.perf_counter() - read}))
"""


def opening(kind: str, folder: Path, processes: int) -> dict[str, float]:
    """Return median times of new processes."""
    command = [sys.executable, "-c", OPEN, kind, str(folder), str(DIM)]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(processes)
    ]
    return {name: round(statistics.median(each[name] for each in found), 4) for name in found[0]}


def measure(kind: str, entries: int, processes: int) -> dict[str, Any]:
    """Return size and times of one kind of store."""
    vectors = F.normalize(torch.randn(entries, DIM), dim=1)
    payloads = [{"text": f"text of item {number}", "source": {"page": number}} for number in range(entries)]
    with TemporaryDirectory() as name:
        if kind == "ExactIndex":
            index = ExactIndex(DIM)
            index.add(vectors, payloads)
            index.save(name)
        else:
            memory, slots = KeyValueMemory(SLOT_DIM, num_slots=1, search_dim=DIM), torch.ones(entries, 1, SLOT_DIM)
            memory.add(vectors, slots, slots, payloads)
            memory.save(name)
        size = sum(file.stat().st_size for file in Path(name).iterdir())
        return {"kind": kind, "entries": entries, "bytes": size, **opening(kind, Path(name), processes)}


def index_opening(entries: int = 1_000_000, processes: int = 5) -> dict[str, Any]:
    """Time the opening of stores.

    Args:
        entries: of each store.
        processes: new ones for each.
    """
    check_at_least(1, entries=entries, processes=processes)
    torch.manual_seed(0)
    kinds = [kind.__name__ for kind in (ExactIndex, KeyValueMemory)]
    return {"dim": DIM, "slot_dim": SLOT_DIM, "stores": [measure(kind, entries, processes) for kind in kinds]}


if __name__ == "__main__":
    run(index_opening)
