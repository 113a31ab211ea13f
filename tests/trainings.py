"""Helpers of the tests of all apps: interrupted trainings, their logs, and settings out of range."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from math import inf, nan
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from lightning.pytorch import Callback, Trainer


class Stop(Callback):
    """Aborts training with ``RuntimeError("killed")`` after N batches, counted over all epochs."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        """Raise the error if it is time."""
        if trainer.fit_loop.total_batch_idx == self.batches:
            raise RuntimeError("killed")


class Signal(Callback):
    """Sends a signal to this process in the training step after a number of batches, counted over all epochs.

    With ``in_validation`` it is sent in the validation after the last of them instead.
    """

    def __init__(self, number: int, batches: int, *, in_validation: bool = False) -> None:
        self.number, self.batches, self.in_validation = number, batches, in_validation

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        """Send it if it is time."""
        if trainer.fit_loop.total_batch_idx == self.batches and not self.in_validation:
            signal.raise_signal(self.number)

    def on_validation_batch_start(self, trainer: Trainer, *_: object) -> None:
        """Send it if it is time."""
        if trainer.fit_loop.total_batch_idx + 1 == self.batches and self.in_validation:
            signal.raise_signal(self.number)


def losses(root: Path) -> dict[int, str]:
    """Return the loss of each step over all starts of a run, the latest start last."""
    found: dict[int, str] = {}
    for path in sorted(root.glob("logs/version_*/metrics.csv")):
        with path.open() as file:
            found |= {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row.get("train/loss")}
    return found


def run_and_kill(command: list[str], root: Path, steps: int) -> None:
    """Start a training and kill all its processes as soon as it has logged ``steps`` steps.

    Raises:
        RuntimeError: if the run ended before.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(losses(root)) < steps:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def absurd_settings(*makers: Callable[..., Any]) -> list[tuple[Callable[..., Any], str, Any]]:
    """Return values that no numeric setting can have: NaN, infinity, and -5 for whole numbers.

    Args:
        makers: classes, or functions with their required arguments bound; nested classes of settings are included.

    Returns:
        Class or function, name of the setting and value of each case.
    """
    cases: list[tuple[Callable[..., Any], str, Any]] = []
    for maker in makers:
        for name, hint in get_type_hints(vars(maker)["__init__"] if isinstance(maker, type) else maker).items():
            kinds = [hint, *get_args(hint)]
            nested = [kind for kind in kinds if is_dataclass(kind)]
            cases += absurd_settings(*(kind for kind in nested if isinstance(kind, type)))
            values = [-5] if int in kinds else [nan, inf] if float in kinds else []
            count = sum(kind in {int, float} for kind in get_args(hint))
            is_sequence = get_origin(hint) in {tuple, list}
            cases += [(maker, name, (value,) * count if is_sequence else value) for value in values]
    return cases
