"""Data in splits, and loaders of training data that can be left and resumed within an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from itertools import islice
from math import inf
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mnemic_core.errors import UserError, check_range
from mnemic_kit.interruption import ignore_signals

# The first is what a stage cannot do without.
_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


@dataclass(frozen=True)
class EpochShare:
    """What one process loads in one epoch, counted from 0.

    ``seed`` and ``epoch`` decide the order; process ``rank`` of ``num_replicas`` takes its share of it.
    """

    epoch: int
    seed: int
    num_replicas: int = 1
    rank: int = 0


class SplitData(pl.LightningDataModule, ABC):
    """Base of all data modules, which define how a split is opened and loaded.

    Attributes:
        contents: what a split holds, for messages.
        example: how a user names it on the command line.

    Args:
        train: sources of training data.
        val: sources of validation data.
        test: sources of data to test on or to predict; those of validation if there are none.
        seed: of the order of training data and what is changed in it at random.
    """

    contents: ClassVar[str] = "data"
    example: ClassVar[str] = "[{name: generated}]"

    def __init__(self, train: Sequence[Any], val: Sequence[Any], test: Sequence[Any], seed: int) -> None:
        super().__init__()
        self.sources = {"train": tuple(train), "val": tuple(val), "test": tuple(test) or tuple(val)}
        self.seed = seed
        check_range(self, 0, inf, "seed")
        self._opened: dict[str, Any] = {}

    @abstractmethod
    def open_split(self, split: str, stage: str) -> Any:
        """Return a split opened for a stage; its sources are ``self.sources[split]``."""

    @abstractmethod
    def epoch_loader(self, train: Any, share: EpochShare) -> "ResumableLoader":
        """Return the loader of training data for one epoch."""

    @abstractmethod
    def whole_loader(self, opened: Any) -> Iterable[Any]:
        """Return the loader of a complete validation or test split.

        A ``DataLoader`` gets ``batch_size`` by name: Lightning builds it again for ``predict``.
        """

    def split(self, name: str, stage: str = "fit") -> Any:
        """Return a split, opened the first time."""
        if name not in self._opened:
            self._opened[name] = self.open_split(name, stage)
        return self._opened[name]

    def setup(self, stage: str) -> None:
        """Open the files that a stage needs, so that mistakes show before the first step.

        Raises:
            UserError: the config names no data for the stage.
        """
        needed = _SPLITS[stage][0]
        if not self.sources[needed]:
            raise UserError(f"data.{needed} names no {self.contents}: give some, as --data.{needed}={self.example}")
        for name in _SPLITS[stage]:
            if self.sources[name]:
                self.split(name, stage)

    def train_dataloader(self) -> "ResumableLoader":
        """Return the batches of the present epoch.

        Raises:
            UserError: there is no trainer, or one that would keep the loader of its first epoch.
        """
        trainer = self.trainer
        if trainer is None or getattr(trainer, "reload_dataloaders_every_n_epochs", 0) != 1:
            raise UserError("batches change with the epoch: the trainer needs reload_dataloaders_every_n_epochs=1")
        share = EpochShare(trainer.current_epoch, self.seed, trainer.world_size, trainer.global_rank)
        return self.epoch_loader(self.split("train"), share)

    def val_dataloader(self) -> Iterable[Any]:
        """Return the validation data; an empty list without any."""
        return self.whole_loader(self.split("val")) if self.sources["val"] else []

    def test_dataloader(self) -> Iterable[Any]:
        """Return the test data."""
        return self.whole_loader(self.split("test", "test"))

    def predict_dataloader(self) -> Iterable[Any]:
        """Return the test data."""
        return self.whole_loader(self.split("test", "predict"))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; what has no method ``to`` stays where it is."""
        return batch.to(device) if hasattr(batch, "to") else batch


@dataclass(frozen=True)
class _Order:
    """What the items of an epoch and their order follow from; without a batch size an item is a batch."""

    items: int
    batch_size: int | None
    num_replicas: int
    seed: int

    def __str__(self) -> str:
        items = f"{self.items} batches" if self.batch_size is None else f"{self.items} items by {self.batch_size}"
        return f"{items} on {self.num_replicas} processes with seed {self.seed}"


class EpochSampler(DistributedSampler[Any]):
    """The items of one epoch in an order that follows from seed and epoch, shared among the processes.

    The first ``start`` items of this process are left out: they were used before a restart.

    Args:
        dataset: the items.
        share: which epoch, and which part of it.
        shuffle: whether the order is random.
    """

    start = 0

    def __init__(self, dataset: Dataset[Any], share: EpochShare, *, shuffle: bool) -> None:
        super().__init__(dataset, share.num_replicas, share.rank, shuffle, share.seed, drop_last=True)
        self.epoch = share.epoch

    def set_epoch(self, epoch: int) -> None:
        """Keep the epoch: Lightning would set the one before after a restart from the last batch of an epoch."""

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.start, None)


class ResumableLoader(DataLoader[Any]):
    """Batches of one epoch that can be left and taken up again in the middle.

    Lightning stores ``state_dict`` with each checkpoint and gives it back before the first batch.

    Args:
        dataset: a ``Dataset``, not a list, of the items of this epoch; item i must follow from i alone.
        share: which epoch, and which part of it.
        batch_size: items in a batch, of which a last incomplete one is left out; None: an item is a batch.
        collate: makes a batch of a list of items; None where an item is a batch.
        shuffle: give the items in another order in each epoch.
        num_workers: worker processes.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        share: EpochShare,
        batch_size: int | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        *,
        shuffle: bool = True,
        num_workers: int = 0,
    ) -> None:
        # Without drop_last processes could get different numbers of items, and gathering gradients would hang.
        sampler = EpochSampler(dataset, share, shuffle=shuffle)
        count = len(dataset) if isinstance(dataset, Sized) else 0
        super().__init__(
            dataset,
            batch_size,
            sampler=sampler,
            collate_fn=collate,
            drop_last=batch_size is not None,
            num_workers=num_workers,
            worker_init_fn=ignore_signals,
            pin_memory=torch.cuda.is_available(),  # only pinned memory is copied while the GPU computes
        )
        if not len(self):
            raise UserError(
                f"{count} items are too few for one batch of {batch_size or 1} in each of {share.num_replicas} "
                "processes: use more data or a smaller batch"
            )
        self._items = sampler
        self._used = 0
        self._order = _Order(count, batch_size, share.num_replicas, share.seed)

    def __iter__(self) -> Any:
        """Yield the batches that are left of the epoch."""
        self._items.start = self._used * (self.batch_size or 1)
        for batch in super().__iter__():
            self._used += 1  # before the batch is out: a checkpoint after its step must not see it again
            yield batch

    def state_dict(self) -> dict[str, int | None]:
        """Return how far the epoch has come, and what its order follows from."""
        return {"epoch": self._items.epoch, "used": self._used, **asdict(self._order)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another loader stopped.

        A run that ``max_steps`` ended within an epoch continues with the first batch of the next one.

        Raises:
            UserError: if the state is of any other epoch, or the rest of this one is not what the other loader left.
        """
        if state["epoch"] == self._items.epoch - 1:
            return
        if state["epoch"] != self._items.epoch:
            raise UserError(f"this loader is of epoch {self._items.epoch}, the checkpoint of epoch {state['epoch']}")
        stored = _Order(**{name: state.get(name, value) for name, value in asdict(self._order).items()})
        if stored != self._order:
            raise UserError(
                f"the checkpoint lies within an epoch of {stored}, and this run has {self._order}: what is left of the "
                "epoch would be other items; resume with the same data, batch size and number of processes"
            )
        self._used = state["used"]
