"""Render the results of the slow proofs, one JSON file each, as a Markdown table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnemic_core.markdown import markdown_table

_HEAD = ("What", "Model", "Solved", "Accuracy of each seed", "Control", "Steps", "CPU seconds")


def proof_table(folder: Path) -> str:
    """Return one row for each result in the folder, sorted by file name.

    Args:
        folder: the files that the tests in ``packages/core/tests/proofs`` write into ``MNEMIC_PROOFS_DIR``.

    Raises:
        FileNotFoundError: if there is none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"no results in {folder}; run the proofs with MNEMIC_PROOFS_DIR={folder}")
    rows = [_row(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return markdown_table(_HEAD, rows)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    runs = len(result["accuracy"])
    control = "; ".join(f"{name} {_numbers(values)}" for name, values in result["control"].items())
    return (
        result["what"],
        f"`{result['model']}`",
        f"{result['solved']} of {runs}",
        _numbers(result["accuracy"]),
        control or "-",
        _steps(result["steps"]),
        f"{result['seconds']:.0f}",
    )


def _numbers(values: float | Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in (values if isinstance(values, Sequence) else [values]))


def _steps(steps: int | Sequence[int]) -> str:
    """Return the steps of training; each run's own where they stopped when the task was solved."""
    return ", ".join(map(str, steps)) if isinstance(steps, Sequence) else str(steps or "-")
