"""Evaluation of either system, with its tables."""

from pathlib import Path
from typing import Any

from rich.console import Console

from mnemic_ask.emat.evaluation import show_evaluation
from mnemic_ask.emat.files import evaluate_files
from mnemic_ask.evaluation import evaluate_task, open_task
from mnemic_ask.evaluation_report import show_scores
from mnemic_ask.opening import open_checkpoint
from mnemic_kit.devices import Device, find_device
from mnemic_retrieval.emat import EmatCheckpoint


def evaluate_murag(
    checkpoint: Path | None, data: Path, facts: Path | None, split: str | None, device: Device
) -> dict[str, Any]:
    """Print and return the scores of a MuRAG; arguments as of the command."""
    task = open_task(data, facts, split)
    summary = evaluate_task(open_checkpoint(checkpoint, device), task, Console(stderr=True))
    show_scores(summary)
    return summary


def evaluate_emat(
    checkpoint: Path, data: Path, known: Path | None, split: str | None, device: Device
) -> dict[str, Any]:
    """Print and return the scores of an EMAT; arguments as of the command."""
    network = EmatCheckpoint.load(checkpoint).to(find_device(device))
    summary = evaluate_files(network, data, known, split)
    show_evaluation(summary, Console())
    return summary
