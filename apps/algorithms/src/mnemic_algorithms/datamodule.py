"""Training strings of random lengths, and fixed validation strings."""

from math import inf
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from mnemic_core.errors import check_range
from mnemic_core.tasks import AlgorithmicTask, TaskBatch, create_task
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_kit.seeding import hashed_seed


class RandomBatches(Dataset[TaskBatch]):
    """Batches of one epoch, each of one length, uniform from 1 to the largest; ``count`` is their number.

    A batch is determined by seed, epoch and index.
    """

    def __init__(
        self, task: AlgorithmicTask, max_length: int, batch_size: int, count: int, seed: int, epoch: int
    ) -> None:
        self.task, self.max_length, self.batch_size = task, max_length, batch_size
        self.count, self.seed, self.epoch = count, seed, epoch

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.count

    def __getitem__(self, index: int) -> TaskBatch:
        """Return one batch."""
        generator = _generator(self.seed, self.epoch, index)
        length = int(torch.randint(1, self.max_length + 1, (), generator=generator))
        return self.task.sample(self.batch_size, length, generator=generator)


class AlgorithmData(SplitData):
    """Strings of a task for training and validation; the defaults are those of the config ``proof``.

    Args:
        task: name of the task, such as ``reverse_string``.
        max_length: longest training string, in tokens; 40 in the study.
        batch_size: strings per training batch, all of one length; 128 in the study.
        steps_per_epoch: training batches per epoch.
        val_lengths: lengths of the validation strings.
        val_strings: validation strings per length, the same for every seed.
        seed: of the training strings; linked to ``seed_everything`` on the command line.
    """

    def __init__(
        self,
        task: str = "reverse_string",
        max_length: int = 20,
        batch_size: int = 48,
        steps_per_epoch: int = 200,
        val_lengths: tuple[int, ...] = (20, 40),
        val_strings: int = 64,
        seed: int = 0,
    ) -> None:
        self.task = create_task(task)
        super().__init__([self.task], [self.task], [], seed)
        self.max_length, self.batch_size, self.steps_per_epoch = max_length, batch_size, steps_per_epoch
        self.val_lengths, self.val_strings = tuple(val_lengths), val_strings
        check_range(self, 1, inf, "max_length", "batch_size", "steps_per_epoch", "val_strings", "val_lengths")

    @property
    def description(self) -> dict[str, int | str]:
        """The training data as plain values."""
        return {"task": self.task.name, "max_length": self.max_length, "batch_size": self.batch_size}

    def open_split(self, split: str, stage: str) -> AlgorithmicTask | list[TaskBatch]:
        """Return the task for training, one batch for each length for validation."""
        if split == "train":
            return self.task
        return [
            # Not from the seed of the run: every run is validated on the same strings.
            self.task.sample(self.val_strings, length, generator=_generator("validation", length))
            for length in self.val_lengths
        ]

    def epoch_loader(self, train: AlgorithmicTask, share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        batches = RandomBatches(train, self.max_length, self.batch_size, self.steps_per_epoch, self.seed, share.epoch)
        return ResumableLoader(batches, share)

    def whole_loader(self, opened: list[TaskBatch]) -> DataLoader[Any]:
        """Return one batch for each validation length."""
        return DataLoader(cast("Dataset[TaskBatch]", opened), batch_size=None)  # a list has all that it needs


def _generator(*key: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(hashed_seed(*key))
