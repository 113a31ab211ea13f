"""Training clips and validation sequences from any mixture of data sets, chosen by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, cast

from torch.utils.data import DataLoader, Dataset

from mnemic_core.distinct_names import with_distinct_names
from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_vision.memotr.data import (
    ClipAugmentation,
    ClipDataset,
    GeneratedSequences,
    MotSequences,
    TrackingSequence,
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

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_sequences", "num_frames", "num_objects")
        check_range(self, 64, inf, "size")
        check_range(self, 0, 1, "min_visibility")
        check_range(self, 0, inf, "seed")


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

    def open(self, *, require_ground_truth: bool = True) -> list[TrackingSequence]:
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
        if self.name == "bdd100k":
            return read_bdd100k(self.root, self.split)
        return read_dance_track(self.root, self.split)  # SportsMOT has the same layout


class TrackingData(SplitData):
    """Clips for training, complete sequences for validation, test and prediction.

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

    contents = "sequences"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        classes: tuple[str, ...] = ("person",),
        clip_lengths: Mapping[int, int] | None = None,
        max_interval: int = 10,
        augmentation: ClipAugmentation = ClipAugmentation(),
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.classes = classes
        self.clip_lengths = dict(clip_lengths or {0: 2})  # pairs of frames from the first epoch on
        self.max_interval = max_interval
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.num_workers = num_workers
        check_range(self, 1, inf, "max_interval", "batch_size")
        check_range(self, 0, inf, "num_workers")

    @property
    def description(self) -> str:
        """The training data in one line, for the provenance of checkpoints."""
        return " + ".join(
            f"{source.name} {source.split} {source.root or source.world}" for source in self.sources["train"]
        )

    def open_split(self, split: str, stage: str) -> list[TrackingSequence]:
        """Return the sequences of a split; only a prediction does without ground truth."""
        opened = [source.open(require_ground_truth=stage != "predict") for source in self.sources[split]]
        if split == "train" and opened and not any(sequence.has_objects for part in opened for sequence in part):
            raise UserError(f"data.train has no object to learn from: {self.description}; MOT files mark people 1,1")
        return with_distinct_names(opened, lambda sequence: sequence.name, lambda each, name: replace(each, name=name))

    def epoch_loader(self, train: list[TrackingSequence], share: EpochShare) -> ResumableLoader:
        """Return the clips of one epoch."""
        clips = ClipDataset(
            train, self.clip_lengths, max_interval=self.max_interval, augmentation=self.augmentation, seed=self.seed
        )
        clips.set_epoch(share.epoch)  # decides the length of clips and their augmentation
        return ResumableLoader(clips, share, self.batch_size, collate_clips, num_workers=self.num_workers)

    def whole_loader(self, opened: list[TrackingSequence]) -> DataLoader[Any]:
        """Return complete sequences, one a batch; the tracker copies them frame by frame to the device."""
        return DataLoader(cast("Dataset[TrackingSequence]", opened), batch_size=None)  # a list will do
