"""Averaging the weights of several states of one training run, which is steadier than any of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError
from mnemic_core.loading import read_checkpoint
from mnemic_kit.atomic_files import atomic_write


class AveragedCheckpoint(ModelCheckpoint):
    """The mean weights of the best validated states, ``averaged.ckpt``, written when training ends.

    Weights of the candidates lie in the folder ``candidates`` until then and stay there for other averages.

    Args:
        folder: where it is written.
        keep: number of states to average; 10 in the published recipe.
        monitor: validation figure that decides which are best; the published recipe takes ``val/acc`` (``max``), which
            needs a decoder, and ``step`` (``max``) takes the last ones.
        mode: ``max`` or ``min``, whichever is better.
    """

    def __init__(self, folder: str, keep: int = 10, monitor: str = "val/wer", mode: str = "min") -> None:
        if keep < 1:
            raise UserError(f"keep must be at least 1, got {keep}")
        super().__init__(
            str(Path(folder, "candidates")),
            "step={step}",
            monitor=monitor,
            mode=mode,
            save_top_k=keep,
            save_weights_only=True,
            save_on_train_epoch_end=False,  # but after validation: before `LastCheckpoint`, which has to know of it
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the average, in the main process."""
        super().on_train_end(trainer, pl_module)
        if self.best_k_models and trainer.is_global_zero:
            paths = sorted(Path(path) for path in self.best_k_models)
            average_checkpoints(paths, paths[0].parent.with_name("averaged.ckpt"))


def average_checkpoints(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights of some checkpoints of one run; the rest is that of the newest.

    Statistics of normalization layers are averaged as well, whole numbers are those of the newest.

    Args:
        paths: checkpoints that training wrote.
        out: file to write.

    Raises:
        FileNotFoundError: if a checkpoint or the folder of ``out`` is absent.
        UserError: if there is none, one is damaged, or they are of different networks.
    """
    if not paths:
        raise UserError("expected checkpoints to average, got none")
    newest, sums = _read(paths[0]), dict[str, Tensor]()
    steps = []
    for path in paths:
        content = _read(path)
        if content["state_dict"].keys() != newest["state_dict"].keys() or not _like(content, newest):
            raise UserError(f"{path} is of another network than {paths[0]}: average checkpoints of one run")
        newest = max(newest, content, key=_step)
        steps.append(_step(content))
        for name, value in content["state_dict"].items():
            if value.is_floating_point():  # summed in double precision
                sums[name] = sums.get(name, 0) + value.double()
    weights = newest["state_dict"]
    mean = {name: (total / len(paths)).to(weights[name].dtype) for name, total in sums.items()}
    facts = newest[KEY]
    made = {**facts["provenance"], "averaged_steps": sorted(steps)}
    content = {**newest, "state_dict": {**weights, **mean}, KEY: {**facts, "provenance": made}}
    with atomic_write(out, "wb") as file:
        torch.save(content, file)


def _read(path: Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    if not {"state_dict", KEY} <= content.keys():
        raise UserError(f"{path} is no checkpoint of mnemic-transcribe fit")
    return content


def _step(content: dict[str, Any]) -> int:
    return int(content[KEY]["provenance"]["step"])


def _like(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two checkpoints have weights of the same sizes and were made for the same tokens and features."""
    same = all(one[KEY].get(key) == other[KEY].get(key) for key in ("kind", "config", "features", "tokenizer"))
    return same and all(value.shape == other["state_dict"][name].shape for name, value in one["state_dict"].items())
