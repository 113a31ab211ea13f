"""Breaking trainings off in tests, and reading what they logged."""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

from lightning.pytorch import Callback, Trainer


class Stop(Callback):
    """Ends training without any farewell, with ``RuntimeError("killed")``, after so many batches of all epochs."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        """Raise the error if it is time."""
        if trainer.fit_loop.total_batch_idx == self.batches:
            raise RuntimeError("killed")


class Signal(Callback):
    """Sends a signal to this process in a training step or in the validation after it.

    Args:
        number: of the signal.
        batches: of all epochs before it.
        in_validation: send it in the validation after the last of them instead of in the next step.
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
    """Start a training and kill all its processes as soon as it has logged so many steps.

    Args:
        command: the program and its arguments.
        root: folder of the run.
        steps: fewer than the whole run has.

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
