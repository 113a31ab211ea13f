"""What made a checkpoint: versions, revision, seed."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


def provenance(package: str, **facts: object) -> dict[str, object]:
    """Return the given facts with the version of a package and, in a git checkout, the revision of its code.

    Facts are plain values, since checkpoints are read without running code.
    """
    try:
        number = version(package)
    except PackageNotFoundError:  # run from a source folder that is not installed
        number = None
    return {"package": package, "version": number, "revision": _revision(package.replace("-", "_"))} | facts


def training_provenance(task: "LightningModule", package: str, seed: int) -> dict[str, object]:
    """Return the provenance of a training: seed, data, step, epoch and the finite figures of the last validation.

    JSON, in which they are shown, has no infinity. The data are the ``description`` of the data module.
    """
    metrics = {
        name: float(value)
        for name, value in task.trainer.callback_metrics.items()
        if name.startswith("val/") and value.isfinite()
    }
    data = getattr(getattr(task.trainer, "datamodule", None), "description", None)
    step, epoch = task.global_step, task.current_epoch
    return provenance(package, seed=seed, data=data, step=step, epoch=epoch, metrics=metrics)


def _revision(module: str) -> str | None:
    """Return the commit that last changed a package; None where it does not run from a checkout."""
    found = find_spec(module)
    if found is None or found.origin is None:
        return None
    folder = str(Path(found.origin).parent)
    command = ["git", "-C", folder, "log", "-1", "--format=%H", "--", "."]  # empty answer: not in this checkout
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
