"""Actions in files: results for other programs, and records that are read again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnemic_kit.atomic_files import atomic_write
from mnemic_vision.matr import Action, DetectedAction
from mnemic_vision.matr.results import results_text


def write_predictions(path: Path, found: Mapping[str, Sequence[DetectedAction]]) -> None:
    """Write the actions of streams in ActivityNet's form, complete or not at all."""
    text = results_text(found)
    with atomic_write(path) as file:
        file.write(text)


def as_record(found: Sequence[DetectedAction], truths: Sequence[Action] = ()) -> dict[str, Any]:
    """Return the actions of one stream as plain values."""
    return {"truths": [asdict(each) for each in truths], "found": [asdict(each) for each in found]}


def read_truths(records: Mapping[str, Any]) -> dict[str, list[Action]]:
    """Return the annotated actions of streams from their records."""
    return {name: [Action(**each) for each in record["truths"]] for name, record in records.items()}


def read_found(records: Mapping[str, Any]) -> dict[str, list[DetectedAction]]:
    """Return the detected actions of streams from their records."""
    return {name: [DetectedAction(**each) for each in record["found"]] for name, record in records.items()}
