"""What the runs of a comparison found in each condition, kept beside their scores for paired intervals."""

import json
from pathlib import Path
from typing import Any

from mnemic_kit.output import write_json


def read_conditions(path: Path) -> dict[str, Any]:
    """Return the content of a file of `keep_condition` by condition; empty if there is none."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content


def keep_condition(path: Path, condition: str, found: Any) -> None:
    """Add what was found in a condition, as plain values, to a file."""
    write_json(path, {**read_conditions(path), condition: found})
