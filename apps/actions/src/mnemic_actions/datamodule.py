"""Training windows, and complete streams for validation, test and prediction."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from mnemic_actions.sources import DataSource
from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_vision.matr import LabelRule, MatrConfig
from mnemic_vision.matr.data import ActionStream, InputConfig, StreamAugmentation
from mnemic_vision.matr.data.windows import LabeledStream, Sampling, TrainingWindows
from mnemic_vision.matr.labels import FrameActions, window_targets


class ActionData(SplitData):
    """Windows of training streams, and complete streams to localize actions in.

    Args:
        train: sources of training streams, put together.
        val: sources of validation streams.
        test: sources of streams to test on or to predict.
        classes: names of the classes; their number is the network's.
        inputs: what a raw frame consists of.
        labels: which windows are to find an action.
        augmentation: what is changed at random in training streams; null (the paper): nothing.
        copies: changed copies of each training stream in an epoch.
        sampling: ``consecutive`` (the paper) takes all windows, stream by stream; ``balanced`` draws half of them among
            those that are to find an action.
        windows_per_epoch: windows of an epoch of balanced sampling.
        batch_size: windows in a batch of one process.
        num_workers: processes that load windows.
        seed: of order and augmentation; the command line sets it to ``seed_everything``.
    """

    contents = "streams"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        classes: tuple[str, ...] = ("action",),
        inputs: InputConfig = InputConfig(),
        labels: LabelRule = LabelRule(),
        augmentation: StreamAugmentation | None = None,
        copies: int = 1,
        sampling: Sampling = "consecutive",
        windows_per_epoch: int = 10_000,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.classes, self.inputs, self.labels = classes, inputs, labels
        self.augmentation, self.copies, self.sampling = augmentation, copies, sampling
        self.windows_per_epoch, self.batch_size, self.num_workers = windows_per_epoch, batch_size, num_workers
        check_range(self, 1, inf, "copies", "windows_per_epoch", "batch_size")
        check_range(self, 0, inf, "num_workers")

    @property
    def description(self) -> str:
        """The training data in one line, for the provenance of checkpoints."""
        sources = self.sources["train"]
        return " + ".join(f"{each.name} {each.subset or 'all'} {each.root or each.world}" for each in sources)

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch, in all processes together."""
        streams = self.split("train")
        all_windows = sum(stream.num_frames for stream in streams)
        return (self.windows_per_epoch if self.sampling == "balanced" else all_windows) // self.batch_size

    def open_split(self, split: str, stage: str) -> list[ActionStream]:
        """Return the streams of a split.

        Raises:
            UserError: a class or the width of a frame is another one, or two streams have one name.
        """
        opened = [source.open() for source in self.sources[split]]
        for each in opened:
            self.inputs.check(each.num_channels)
            if unknown := sorted(set(each.classes) - set(self.classes)):
                raise UserError(f"data.{split} has the classes {', '.join(unknown)}, which data.classes does not name")
        streams = [stream for each in opened for stream in each]
        names = [stream.name for stream in streams]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"data.{split} has two streams of the name {twice[0]}: rename one")
        return [stream.in_memory() for stream in streams] if split == "train" else streams

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation of each feature over the training streams."""
        features = torch.cat([self._features(stream) for stream in self.split("train")])
        return features.mean(0), features.std(0)

    def epoch_loader(self, train: list[ActionStream], share: EpochShare) -> ResumableLoader:
        """Return the windows of one epoch."""
        config: MatrConfig = cast(Any, self.trainer).lightning_module.model.config
        labeled = [self._label(stream, config) for stream in self._changed(train, share.epoch)]
        windows = TrainingWindows(
            labeled, config, self.sampling, number=self.windows_per_epoch, seed=self.seed, epoch=share.epoch
        )
        # The windows are in their order: consecutive ones share their frames.
        return ResumableLoader(
            windows, share, self.batch_size, windows.collate, shuffle=False, num_workers=self.num_workers
        )

    def whole_loader(self, opened: list[ActionStream]) -> DataLoader[Any]:
        """Return complete streams, one a batch."""
        return DataLoader(cast("Dataset[ActionStream]", opened), batch_size=None)  # a list will do

    def _changed(self, train: Sequence[ActionStream], epoch: int) -> Iterator[ActionStream]:
        """Return the training streams of an epoch."""
        if self.augmentation is None:
            return iter(train)
        change = partial(self.augmentation, train, self.inputs.kind, epoch=epoch, seed=self.seed)
        number = self.copies * len(train)
        return (change(index=index % len(train), epoch=epoch * number + index) for index in range(number))

    def _label(self, stream: ActionStream, config: MatrConfig) -> LabeledStream:
        # The label of a frame is that of the window which ends there, as the official code counts.
        times = [
            ((each.start - stream.offset) / stream.frame_time, (each.end - stream.offset) / stream.frame_time)
            for each in stream.actions
        ]
        labels = [self.classes.index(each.label) for each in stream.actions]
        actions = FrameActions.from_lists([start for start, _ in times], [end for _, end in times], labels)
        targets = window_targets(actions, torch.arange(stream.num_frames), config, self.labels)
        return LabeledStream(self._features(stream), targets)

    def _features(self, stream: ActionStream) -> torch.Tensor:
        return self.inputs.to_features(torch.as_tensor(stream.load(), dtype=torch.float32))
