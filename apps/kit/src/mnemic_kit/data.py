"""Training data whose order follows from seed and epoch, and that can be left and resumed within an epoch."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mnemic_core.errors import UserError


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
