"""Training clips and validation sequences from any mixture of data sets, chosen by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from mnemic_core.errors import UserError
from mnemic_kit.data import ResumableLoader, reloading_trainer
from mnemic_vision.memotr import ClipBatch
from mnemic_vision.memotr.data import (
    ClipAugmentation,
    ClipDataset,
    GeneratedSequences,
    MotSequences,
    Sequence,
    collate_clips,
    read_bdd100k,
    read_crowd_human,
    read_dance_track,
    read_mot_challenge,
)

Part = Literal["all", "first_half", "second_half"]


@dataclass(frozen=True)
class World:
    """A generated data set: the same numbers give the same frames.

    Args:
        num_sequences: how many sequences.
        num_frames: frames of each.
        size: height and width in pixels.
        seed: give training and validation different ones.
        num_objects: people at the same time, about.
        min_visibility: people of whom less than this share can be seen have no ground truth in that frame.
    """

    num_sequences: int = 16
    num_frames: int = 40
    size: tuple[int, int] = (128, 160)
    seed: int = 0
    num_objects: int = 8
    min_visibility: float = 0.1


@dataclass(frozen=True)
class DataSource:
    """One part of a mixture of data.

    Args:
        name: data set. ``mot`` is any folder of the MOT layout, ``crowdhuman`` single images for joint training, and
            ``generated`` needs no files.
        root: folder of the data set, the one that holds its splits; for ``mot`` the sequence or folder of sequences.
        split: train, val or test, where the data set has splits.
        part: half of each sequence, for sets without public validation ground truth such as MOT17.
        world: size and seed of a generated data set.
    """

    name: Literal["generated", "mot", "dancetrack", "sportsmot", "mot17", "mot20", "crowdhuman", "bdd100k"]
    root: Path | None = None
    split: str = "train"
    part: Part = "all"
    world: World = World()

    def open(self, *, require_ground_truth: bool = True) -> list[Sequence]:
        """Return the sequences.

        Raises:
            FileNotFoundError: a folder or file is missing.
            UserError: a file is malformed, or ``root`` is not given.
        """
        if self.name == "generated":
            return GeneratedSequences(**vars(self.world)).sequences
        if self.root is None:
            raise UserError(f"data source {self.name} needs root, the folder of the data set")
        if self.name == "mot":
            return MotSequences(self.root, require_ground_truth=require_ground_truth, part=self.part).sequences
        if self.name in {"mot17", "mot20"}:
            return read_mot_challenge(self.root, self.split, self.part)
        if self.name == "crowdhuman":
            return [read_crowd_human(self.root, self.split)]
        return (
            read_bdd100k(self.root, self.split) if self.name == "bdd100k" else read_dance_track(self.root, self.split)
        )


class TrackingData(pl.LightningDataModule):
    """Clips for training, whole sequences for validation, test and prediction.

    Args:
        train: sources of training clips, put together.
        val: sources of validation sequences.
        test: sources of sequences to test on or to predict; ground truth is needed for a test only.
        classes: names of the classes; their number is the network's.
        clip_lengths: from which epoch on clips have how many frames.
        max_interval: greatest distance between two frames of a clip.
        augmentation: what is changed at random; the defaults are DanceTrack's.
        batch_size: clips in a batch of one process.
        num_workers: processes that load clips.
        seed: of order and augmentation; the command line sets it to ``seed_everything``.
    """

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        classes: tuple[str, ...] = ("person",),
        clip_lengths: Mapping[int, int] | None = None,
        max_interval: int = 10,
        augmentation: ClipAugmentation = ClipAugmentation(),  # noqa: B008  # frozen
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sources = {"train": train, "val": val or [], "test": test or val or []}
        self.classes = classes
        self.clip_lengths = dict(clip_lengths or {0: 2})
        self.max_interval = max_interval
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._sequences: dict[str, list[Sequence]] = {}

    @property
    def description(self) -> str:
        """The training data in a few words."""
        return " + ".join(
            f"{source.name} {source.split} {source.root or source.world}" for source in self.sources["train"]
        )

    def setup(self, stage: str) -> None:
        """Open the files that a stage needs, so that mistakes show before the first step."""
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}
        for split in splits[stage]:
            if split not in self._sequences:
                opened = [source.open(require_ground_truth=stage != "predict") for source in self.sources[split]]
                self._sequences[split] = [sequence for part in opened for sequence in part]

    def train_dataloader(self) -> ResumableLoader:
        """Return the batches of the present epoch."""
        trainer = reloading_trainer(self, "clips change with the epoch")
        clips = ClipDataset(
            self._sequences["train"],
            self.clip_lengths,
            max_interval=self.max_interval,
            augmentation=self.augmentation,
            seed=self.seed,
        )
        clips.set_epoch(trainer.current_epoch)
        return ResumableLoader(
            clips,
            trainer.current_epoch,
            self.batch_size,
            self.seed,
            collate_clips,
            num_replicas=trainer.world_size,
            rank=trainer.global_rank,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the validation sequences, one a batch; an empty list without any."""
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the test sequences, one a batch."""
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the test sequences, one a batch."""
        return self._whole("test")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move clips; whole sequences stay where they are, the tracker takes frame by frame."""
        return batch.to(device) if isinstance(batch, ClipBatch) else batch

    def _whole(self, split: str) -> DataLoader[Any] | list[Any]:
        sequences = self._sequences[split]
        return DataLoader(sequences, batch_size=None) if sequences else []  # type: ignore[arg-type]  # a list will do
