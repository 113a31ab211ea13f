"""What commands print and write: text and JSON."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mnemic_kit.atomic_files import atomic_write


def show(text: str) -> None:
    """Print text on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a pipe would hold it back until the program ends


def show_json(summary: Mapping[str, Any]) -> None:
    """Print a summary as one line of JSON."""
    show(dumps(summary))


def write_json(path: Path, summary: Mapping[str, Any]) -> None:
    """Write a summary as indented JSON, complete or not at all."""
    write_text(path, dumps(summary, indent=1))


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line of JSON for each row, complete or not at all."""
    with atomic_write(path) as file:
        file.writelines(f"{dumps(row)}\n" for row in rows)


def write_text(path: Path, text: str) -> None:
    """Write text and a line break, complete or not at all."""
    with atomic_write(path) as file:
        file.write(text + "\n")


def dumps(value: Any, indent: int | None = None) -> str:
    """Return plain data as JSON; NaN and infinity, which JSON does not have, become null.

    Example:
        >>> dumps({1: float("nan"), "path": Path("a")})
        '{"1": null, "path": "a"}'
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
