"""What benchmarks say of the machine and of themselves, and where they keep it."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """Return what was measured on."""
    return {
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device != "cpu" else "not run on GPU",
        "load": os.getloadavg(),
        "allocator": {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")},
    }


def resident_bytes() -> int:
    """Return what the process holds in memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def publish(document: Mapping[str, Any], result: Path | None) -> None:
    """Print a document, and keep it in a file if one is given."""
    text = json.dumps(document, indent=1)
    print(text)
    if result is not None:
        result.parent.mkdir(exist_ok=True)
        result.write_text(text + "\n")
