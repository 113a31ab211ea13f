"""Checkpoints that a kill at any moment cannot damage, and from which a run resumes exactly.

Three things make a resumed run equal to an uninterrupted one, besides the states of weights, optimizer and schedule
that Lightning stores:

- the next batches follow from (seed, epoch, number of batches already used), which `ResumableLoader` stores;
- the content of an item follows from (seed, epoch, index), so that no worker carries a random state;
- the noise of a step follows from (seed, process, step): `seed_step` draws it again instead of storing it, so that
  nothing that runs between two steps, such as a validation, can change it.
"""

import signal
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from mnemic_core.checkpoint import KEY
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_range
from mnemic_core.loading import read_checkpoint
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.interruption import Interrupted, SignalWatch

_PARTS = {
    KEY: dict[str, Any],
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "loops": dict[str, Any],
    "state_dict": dict[str, torch.Tensor],
}
"""What Lightning reads of every checkpoint, whether it has the state of training or weights alone."""


class WholeFileIO(TorchCheckpointIO):
    """Writes checkpoints under a temporary name and renames them: a kill or a full disk leaves the earlier one.

    It reads data only: an untrusted checkpoint runs no code.
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
        """Return the content on the CPU; network, optimizer and schedule copy it to their devices.

        Raises:
            UserError: if the file is damaged, holds more than tensors and plain data, or is no checkpoint of fit.
        """
        content = read_checkpoint(path)
        if not content.keys() >= _PARTS.keys():
            raise UserError(f"{path} is not a checkpoint of training: give one that fit wrote")
        for name, kind in _PARTS.items():
            deserialize(kind, content[name], path, name)
        return content


class LastCheckpoint(ModelCheckpoint):
    """The state to resume from, ``last.ckpt``, replaced every ``every_n_train_steps`` steps and after every epoch.

    Ctrl-C and SIGTERM end training after the step that is running, with its state saved. A validation is not waited
    for: the state before the step that it follows is saved, since Lightning resumes a later one behind the validation.

    Args:
        folder: of the checkpoint.
        every_n_train_steps: optimizer steps between two of them, the most that a kill can cost.
    """

    def __init__(self, folder: str, every_n_train_steps: int = 200) -> None:
        super().__init__(folder, "last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)
        self.every_n_train_steps = every_n_train_steps
        check_range(self, 1, inf, "every_n_train_steps")
        self._signals = SignalWatch()
        self._is_waiting = self._is_ending = False
        self._step_before = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Become the last callback: what the others did after a validation belongs to the state."""
        super().setup(trainer, pl_module, stage)
        callbacks: list[pl.Callback] = vars(trainer)["callbacks"]  # Lightning declares no type for it
        callbacks.sort(key=lambda callback: callback is self)  # stable: all others keep their order

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch for signals from now on; at the end of training Lightning puts its handlers and ours back."""
        super().on_train_start(trainer, pl_module)
        self._signals.start()

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any, **keywords: Any) -> None:
        """Remember the step, or end after the one before, whose values are logged by now."""
        if self._is_ending:
            self._stop()
        self._step_before = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any, **keywords: Any) -> None:
        """Write the state if it is due or if a signal asks for the end.

        Not after the last batch of an epoch: Lightning 2.6 resumes from there without counting the new epoch, and a
        second kill in that epoch would restart it. `on_train_epoch_end` writes instead. Not before a validation
        either: a run that is killed in it would resume behind it. `on_validation_end` writes instead.
        """
        if trainer.global_step == self._step_before:
            return  # gradients that are being accumulated are no part of a state
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        is_validated = _is_validated_within(trainer, 0)
        self._is_waiting = is_validated and not is_last
        should_stop = not _is_finished(trainer) and self._should_stop(trainer)
        if should_stop and is_validated:
            self._stop()
        if is_last or is_validated:
            return
        self._is_ending = should_stop
        if should_stop or _is_validated_within(trainer, trainer.accumulate_grad_batches):
            self._write(trainer)
        else:
            super().on_train_batch_end(trainer, *arguments, **keywords)

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any, **keywords: Any) -> None:
        """End within a validation of one process; several, whose batches differ in length, go through with it."""
        if trainer.world_size == 1 and self._signals.received is not None:
            self._stop()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state of an epoch that was validated on the way; validations are rare and long."""
        if self._is_waiting:
            self._is_waiting = False
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state of a complete epoch; one that ``max_steps`` cut short is left to `on_train_end`."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._write(trainer)
            if not _is_finished(trainer) and self._should_stop(trainer):
                self._stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the final state."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            trainer.save_checkpoint(Path(self.dirpath or "", "last.ckpt"))
            self._last_global_step_saved = trainer.global_step

    def _should_stop(self, trainer: pl.Trainer) -> bool:
        """Return whether any process received a signal; all must ask at the same place."""
        return trainer.strategy.reduce_boolean_decision(self._signals.received is not None, all=False)

    def _stop(self) -> NoReturn:
        """End training.

        Raises:
            Interrupted: always.
        """
        raise Interrupted(self._signals.received or signal.SIGTERM)  # without one, another process received it


class BestCheckpoint(ModelCheckpoint):
    """The state with the best validation, ``best.ckpt``.

    Args:
        folder: of the checkpoint.
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


def _is_validated_within(trainer: pl.Trainer, batches: int) -> bool:
    """Return whether a validation follows the batch that has just ended, or one of the next ``batches``.

    Lightning has no public function for it.
    """
    loop, every = trainer.fit_loop.epoch_loop, trainer.val_check_batch
    if batches == 0:
        fetcher = trainer.fit_loop._data_fetcher
        return fetcher is not None and loop._should_check_val_fx(fetcher)
    if not loop._should_check_val_epoch() or not isinstance(every, int):
        return False
    done = 1 + (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx)
    return any((done + later) % every == 0 for later in range(1, batches + 1))


def _is_finished(trainer: pl.Trainer) -> bool:
    """Return whether the batch that has just ended is the last one of the run."""
    is_last_epoch = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
    is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and is_last_epoch
    return is_last or trainer.global_step == trainer.max_steps
