"""Accuracy of a trained machine against string length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnemic_algorithms.checkpoints import AlgorithmCheckpoint
from mnemic_core.errors import check_at_least
from mnemic_core.markdown import markdown_table
from mnemic_core.tasks import task_accuracy
from mnemic_kit.devices import Device, find_device

MULTIPLES = (1, 2, 5, 10)  # of the largest training length


def check_lengths(lengths: Sequence[int], strings: int) -> None:
    """Raise ``UserError`` for a length or a number of strings below 1, before the work begins."""
    check_at_least(1, length=min(lengths, default=1), strings=strings)


def evaluate_checkpoint(
    checkpoint: Path, lengths: Sequence[int] = (), *, strings: int = 64, seed: int = 0, device: Device = "auto"
) -> dict[str, Any]:
    """Return accuracy by length with facts on the machine.

    The score is the mean accuracy over the lengths beyond training; over all lengths if there are none.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        UserError: if it cannot be used, or a length or the number of strings is below 1.
    """
    check_lengths(lengths, strings)
    place = find_device(device)
    loaded = AlgorithmCheckpoint.load(checkpoint).to(place)
    model, max_length = loaded.model, loaded.settings.max_length
    # 20 is the default of `AlgorithmData`.
    chosen = sorted(set(lengths)) or [multiple * (max_length or 20) for multiple in MULTIPLES]
    curve = task_accuracy(model, model.task, chosen, batch=strings, seed=seed, device=place)
    beyond = [value for length, value in curve.items() if length > (max_length or 0)] or list(curve.values())
    return {
        "checkpoint": str(checkpoint),
        "task": model.task.name,
        "machine": model.config.machine.name,
        "max_length": max_length,
        "strings": strings,
        "seed": seed,
        "chance": 1 / model.task.output_size,
        "accuracy": {str(length): value for length, value in curve.items()},
        "score": sum(beyond) / len(beyond),
        "provenance": dict(loaded.provenance),
    }


def accuracy_table(curve: dict[int, float], max_length: int | None) -> str:
    """Return the curve as a Markdown table; a column marks the training lengths."""
    rows = [
        [str(length), f"{100 * value:.1f}", "yes" if max_length is not None and length <= max_length else "no"]
        for length, value in curve.items()
    ]
    return markdown_table(["length", "accuracy", "trained"], rows)
