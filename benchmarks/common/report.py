"""Command lines and results of benchmarks: what was measured, on which machine, with which versions."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mnemic_core.errors import UserError
from mnemic_kit.parse import read_arguments

RESULTS = Path(__file__).parent.parent / "results"


def run(benchmark: Callable[..., Mapping[str, Any]], *, packages: Sequence[str] = ()) -> None:
    """Run a benchmark and print its result as JSON, with machine and versions.

    The options of the command line are the parameters of its signature; ``--write`` also writes the result to
    ``results/NAME.json``.

    Args:
        benchmark: returns the result; its name is that of the file.
        packages: distributions whose versions matter, besides torch.
    """
    # Removed here: the same for all, so that no signature repeats it.
    words = [word for word in sys.argv[1:] if word != "--write"]
    try:
        given = read_arguments(benchmark, f"python {sys.argv[0]} [--write]", words)
        document = benchmark(*given.args, **given.kwargs)
    except UserError as error:
        sys.exit(str(error))
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("torch", *packages)}}
    facts = {"machine": machine(given.arguments.get("device", "cpu")), "versions": versions}
    text = json.dumps({"benchmark": benchmark.__name__, **document, **facts}, indent=1)
    print(text)
    if "--write" in sys.argv:
        (RESULTS / f"{benchmark.__name__}.json").write_text(text + "\n")


def machine(device: str) -> dict[str, Any]:
    """Return the facts on the machine that times depend on."""
    return {
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device != "cpu" else "not run on GPU",
        "load": os.getloadavg(),
        "allocator": {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")},
    }


def resident_bytes(process: int | str = "self") -> int:
    """Return the resident memory of this process, or of another by its number (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
