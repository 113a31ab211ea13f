"""Training that a kill at any moment cannot damage: checkpoints written whole or not at all, and an exact restart.

Three things make a resumed run equal to an uninterrupted one, besides the states of weights, optimiser and schedule
that Lightning stores:

- which clips come next follows from (seed, epoch, number of batches already used), which `ResumableLoader` stores;
- the content of a clip follows from (seed, epoch, index), so that no worker carries a random state;
- the noise of a step follows from (seed, process, step): `seed_step` draws it anew instead of storing it, so that
  nothing that runs between two steps, such as a validation, can move it.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mnemic_core.errors import UserError
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
        trainer.callbacks = sorted(trainer.callbacks, key=lambda callback: callback is self)

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


class ClipSampler(DistributedSampler[Any]):
    """The clips of one epoch in an order that follows from seed and epoch, shared among the processes.

    Attributes:
        start: number of clips of this process to leave out because they were used before a restart.
    """

    start = 0

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.start, None)


class ResumableLoader(DataLoader[Any]):
    """Batches of one epoch that can be left and taken up again in the middle.

    Lightning stores ``state_dict`` with each checkpoint and gives it back before the first batch.

    Args:
        dataset: clips of this epoch; item i must follow from i alone.
        epoch: number of the epoch, from 0.
        batch_size: clips in a batch; a last incomplete batch is left out.
        seed: with ``epoch`` it decides the order.
        num_replicas: processes that share the epoch.
        rank: number of this process.
        collate: makes a batch of a list of items.
        num_workers: worker processes.
        pin_memory: for faster copies to a GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        epoch: int,
        batch_size: int,
        seed: int,
        collate: Callable[[list[Any]], Any],
        num_replicas: int = 1,
        rank: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        sampler = ClipSampler(dataset, num_replicas, rank, shuffle=True, seed=seed, drop_last=True)
        sampler.set_epoch(epoch)
        super().__init__(
            dataset,
            batch_size,
            sampler=sampler,
            collate_fn=collate,
            drop_last=True,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )
        if not len(self):
            raise UserError(
                f"{len(dataset)} clips are too few for one batch of {batch_size} in each of {num_replicas} processes: "  # type: ignore[arg-type]  # Dataset declares no length
                "use more data or a smaller batch"
            )
        self._clips = sampler
        self._used = 0

    def __iter__(self) -> Any:
        """Yield the batches that are left of the epoch."""
        self._clips.start = self._used * (self.batch_size or 1)
        for batch in super().__iter__():
            self._used += 1  # before the batch is out: a checkpoint after its step must not see it again
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how far the epoch has come."""
        return {"epoch": self._clips.epoch, "used": self._used}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where another loader stopped.

        A run that ``max_steps`` ended within an epoch goes on with the next one, which begins with its first batch.

        Raises:
            UserError: if the state is of any other epoch, that is, of other clips.
        """
        if state["epoch"] == self._clips.epoch - 1:
            return
        if state["epoch"] != self._clips.epoch:
            raise UserError(f"this loader is of epoch {self._clips.epoch}, the checkpoint of epoch {state['epoch']}")
        self._used = state["used"]


def reloading_trainer(data: pl.LightningDataModule, reason: str) -> pl.Trainer:
    """Return the trainer of training data that change with the epoch.

    Args:
        data: makes a loader for the trainer's ``current_epoch``.
        reason: begins the message, such as ``clips change with the epoch``.

    Raises:
        UserError: if there is no trainer, or one that would keep the loader of its first epoch.
    """
    trainer = data.trainer
    if trainer is None or trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]  # undeclared
        raise UserError(f"{reason}: the trainer needs reload_dataloaders_every_n_epochs=1")
    return trainer


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed torch's random numbers for one training step of one process."""
    digest = hashlib.blake2b(f"{seed}/{rank}/{step}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "big"))
