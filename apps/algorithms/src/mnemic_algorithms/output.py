"""What commands show and write: Markdown tables and JSON."""

import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mnemic_kit.atomic_files import atomic_write


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its columns aligned for printing, numbers to the right.

    Example:
        >>> print(markdown_table(["length", "accuracy"], [["20", "99.8"]]))
        | length | accuracy |
        | ------ | -------: |
        | 20     |     99.8 |
    """
    widths = [max(3, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]
    rule = [("-" * width if index == 0 else "-" * (width - 1) + ":") for index, width in enumerate(widths)]
    lines = [
        [text.ljust(width) if index == 0 else text.rjust(width) for index, (text, width) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in [head, *rows])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def show(text: str) -> None:
    """Print text as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def dumps(summary: dict[str, Any]) -> str:
    """Return a summary as JSON on one line."""
    return json.dumps(summary, allow_nan=False)


def write_json(path: Path, summary: dict[str, Any]) -> None:
    """Write a summary for readers, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(summary, allow_nan=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text + "\n")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return what measurements were made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "machine": {"device": name, "system": platform.system(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
