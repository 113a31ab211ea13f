"""Averaging the weights of several checkpoints of one training run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mnemic_core.checkpoint import KEY, Checkpoint, split_checkpoint
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.loading import read_checkpoint
from mnemic_kit.atomic_files import atomic_write


class AveragedCheckpoint(ModelCheckpoint):
    """Writes the mean weights of the best checkpoints, ``averaged.ckpt``, when training ends.

    The weights of the candidates are kept in the folder ``candidates``, for other averages.

    Args:
        folder: folder of the file.
        keep: number of checkpoints to average.
        monitor: validation metric that ranks checkpoints; ``step`` (``max``) keeps the last ones.
        mode: ``max`` or ``min``, the better direction of the metric.
    """

    def __init__(self, folder: str, keep: int = 10, monitor: str = "step", mode: str = "max") -> None:
        check_at_least(1, keep=keep)
        super().__init__(
            str(Path(folder, "candidates")),
            "step={step}",
            monitor=monitor,
            mode=mode,
            save_top_k=keep,
            save_weights_only=True,
            # After validation, and so before `LastCheckpoint`, which stores the list of candidates.
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the average, in the main process."""
        super().on_train_end(trainer, pl_module)
        if self.best_k_models and trainer.is_global_zero:
            paths = sorted(Path(path) for path in self.best_k_models)
            average_checkpoints(paths, paths[0].parent.with_name("averaged.ckpt"))


def average_checkpoints(paths: Sequence[Path], out: Path, kind: type[Checkpoint[Any, Any]] | None = None) -> None:
    """Write the mean weights of checkpoints of one run; all else is taken from the newest.

    Statistics of normalization layers are averaged too; integers are taken from the newest.

    Args:
        paths: the checkpoints.
        out: file to write.
        kind: of checkpoint that they must be; None: as the first.

    Raises:
        FileNotFoundError: if a checkpoint or the folder of ``out`` is absent.
        UserError: if there is none, one is damaged, or their networks differ.
    """
    if not paths:
        raise UserError("expected checkpoints to average, got none")
    newest, sums = _read(paths[0], kind), dict[str, Tensor]()  # one file in memory at a time besides the newest
    steps = []
    for path in paths:
        content = _read(path, kind)
        if content["state_dict"].keys() != newest["state_dict"].keys() or not _is_same_network(content, newest):
            raise UserError(f"{path} is of another network than {paths[0]}: average checkpoints of one run")
        newest = max(newest, content, key=_step)
        steps.append(_step(content))
        for name, value in content["state_dict"].items():
            if value.is_floating_point():  # summed in double precision
                sums[name] = sums.get(name, 0) + value.double()
    weights = newest["state_dict"]
    mean = {name: (total / len(paths)).to(weights[name].dtype) for name, total in sums.items()}
    facts = newest[KEY]
    # The steps averaged, for the record of how the weights were made.
    made = {**facts["provenance"], "averaged_steps": sorted(steps)}
    content = {**newest, "state_dict": {**weights, **mean}, KEY: {**facts, "provenance": made}}
    with atomic_write(out, "wb") as file:
        torch.save(content, file)


def _read(path: Path, kind: type[Checkpoint[Any, Any]] | None) -> dict[str, Any]:
    content = read_checkpoint(path)
    header, weights = split_checkpoint(content, path)
    if kind is not None:
        kind.check_header(header, path)
    if not weights:
        raise UserError(f"{path} has no weights: give checkpoints of fit")
    made = deserialize(dict[str, Any], header.get("provenance"), path, "provenance")
    deserialize(int, made.get("step"), path, "provenance.step")
    return content


def _step(content: dict[str, Any]) -> int:
    step: int = content[KEY]["provenance"]["step"]
    return step


def _is_same_network(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two checkpoints agree in config, tokens, features and the shapes of weights."""
    same = all(one[KEY].get(key) == other[KEY].get(key) for key in ("kind", "config", "features", "tokenizer"))
    return same and all(value.shape == other["state_dict"][name].shape for name, value in one["state_dict"].items())
