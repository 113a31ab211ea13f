"""Checkpoints that a kill at any moment cannot damage, and from which a run resumes exactly.

Three things make a resumed run equal to an uninterrupted one, besides the states of weights, optimizer and schedule
that Lightning stores:

- the next batches follow from (seed, epoch, number of batches already used), which `ResumableLoader` stores;
- the content of an item follows from (seed, epoch, index), so that no worker carries a random state;
- the noise of a step follows from (seed, process, step): `seed_step` draws it again instead of storing it, so that
  nothing that runs between two steps, such as a validation, can change it.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from mnemic_core.loading import read_checkpoint
from mnemic_kit.atomic_files import atomic_write


class WholeFileIO(TorchCheckpointIO):
    """Writes checkpoints beside their place and renames them: a kill or a full disk leaves the earlier one.

    What it reads is data only: a checkpoint of a stranger runs no code.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; its folder is made when absent."""
        if storage_options is not None:
            raise TypeError("storage_options are for remote storage; checkpoints are written to local folders")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the content, on the CPU: the network, the optimiser and the schedule copy it to where they are.

        Raises:
            UserError: if the file is truncated or holds more than tensors and plain data.
        """
        return read_checkpoint(path)


class LastCheckpoint(ModelCheckpoint):
    """The state to resume from, ``last.ckpt``, replaced every so many steps and after every epoch.

    Args:
        folder: where it lies.
        every_n_train_steps: optimiser steps between two of them; a kill costs at most so many steps.
    """

    def __init__(self, folder: str, every_n_train_steps: int = 200) -> None:
        super().__init__(folder, "last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)
        self._is_waiting = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Become the last callback: what the others did after a validation belongs to the state."""
        super().setup(trainer, pl_module, stage)
        callbacks: list[pl.Callback] = vars(trainer)["callbacks"]  # Lightning declares no type for it
        callbacks.sort(key=lambda callback: callback is self)

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any, **keywords: Any) -> None:
        """Write the state if it is due.

        Not after the last batch of an epoch: Lightning 2.6 resumes from there without counting the new epoch, and a
        second kill in that epoch would begin it again. `on_train_epoch_end` writes instead. Not before a validation
        either: a run that is killed in it would resume behind it. `on_validation_end` writes instead.
        """
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        self._is_waiting = _is_validated_next(trainer)
        if not self._is_waiting:
            super().on_train_batch_end(trainer, *arguments, **keywords)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state of an epoch that was validated on the way; validations are rare and long."""
        if self._is_waiting:
            self._is_waiting = False
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state of a complete epoch; one that ``max_steps`` cut short is left to `on_train_end`."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the final state."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            trainer.save_checkpoint(Path(self.dirpath or "", "last.ckpt"))
            self._last_global_step_saved = trainer.global_step


class BestCheckpoint(ModelCheckpoint):
    """The state with the best validation, ``best.ckpt``.

    Args:
        folder: where it lies.
        monitor: validation figure that decides.
        mode: ``max`` or ``min``, whichever is better.
    """

    def __init__(self, folder: str, monitor: str, mode: str = "max") -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=False,  # but after validation: before `LastCheckpoint`, which has to know of it
            enable_version_counter=False,
        )


def _is_validated_next(trainer: pl.Trainer) -> bool:
    """Tell whether a validation follows the batch that has just ended; Lightning has no public word for it."""
    loop = trainer.fit_loop
    return loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
