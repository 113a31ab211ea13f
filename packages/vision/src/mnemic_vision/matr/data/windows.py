"""Training windows: a window, the earlier windows that its memory holds, and what is to be found there."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_vision.matr.config import MatrConfig
from mnemic_vision.matr.labels import NO_END, WindowTargets

Sampling: TypeAlias = Literal["consecutive", "balanced"]


@dataclass(frozen=True)
class LabeledStream:
    """A training stream.

    Attributes:
        features: of every frame.
        targets: of the window that ends at each frame.
    """

    features: Float[Tensor, "frame feature"]
    targets: WindowTargets

    @cached_property
    def has_target(self) -> Bool[np.ndarray, " frame"]:
        """True at frames whose window is to find an action."""
        found: Bool[np.ndarray, " frame"] = (self.targets.offsets[..., 1] != NO_END).any(1).numpy()
        return found


@dataclass(frozen=True)
class WindowPlace:
    """Where a training window is.

    Attributes:
        stream: index of the stream.
        now: index of the newest frame.
        past: newest frame of the windows in memory, oldest first.
    """

    stream: int
    now: int
    past: tuple[int, ...]


@dataclass(frozen=True)
class WindowBatch:
    """Windows with the earlier windows that their memories hold.

    Attributes:
        frames: features of all different frames; row 0 is a frame before a stream, all zeros.
        rows: the frames of each window, those in memory first; 0 where there is none.
        now: index of the newest frame of each window in its stream.
        stored: True at earlier windows that exist.
        targets: of the last window of each row.
    """

    frames: Float[Tensor, "row feature"]
    rows: Int[Tensor, "lane past_and_current window"]
    now: Int[Tensor, "lane past_and_current"]
    stored: Bool[Tensor, "lane past"]
    targets: WindowTargets

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> "WindowBatch":
        """Return a copy on a device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class TrainingWindows(Dataset[WindowPlace]):
    """Windows of streams in an order that seed and epoch determine.

    A window's memory holds the latest windows of its lane that overlap an action. These are known in training, so that
    every window can be trained on alone: the official code runs through each video instead, with the same memory
    except that it was projected by the weights of earlier steps.

    Args:
        streams: training streams.
        config: sizes of the network.
        sampling: ``consecutive`` (the official code) takes every window, stream by stream in a random order;
            ``balanced`` draws half of the windows among those that are to find an action and half among all.
        number: windows of an epoch of balanced sampling.
        seed: together with the epoch it decides which.
        epoch: from 0.
    """

    def __init__(
        self,
        streams: Sequence[LabeledStream],
        config: MatrConfig,
        sampling: Sampling = "consecutive",
        *,
        number: int = 0,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        self.streams, self.window, self.capacity = streams, config.window, config.capacity
        generator = np.random.default_rng((seed, epoch))
        places = self._all_places(generator)
        self._places = places if sampling == "consecutive" else self._balanced(places, number, generator)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> WindowPlace:
        stream, now = self._places[index].tolist()
        return WindowPlace(stream, now, self._past(stream, now))

    def collate(self, places: Sequence[WindowPlace]) -> WindowBatch:
        """Return the batch of windows at the given places."""
        windows = [(each.stream, now) for each in places for now in self._padded(each)]
        rows, frames = self._gather(windows)
        shape = len(places), self.capacity + 1
        targets = [self.streams[each.stream].targets for each in places]
        parts = {
            field.name: torch.stack(
                [getattr(one, field.name)[each.now] for one, each in zip(targets, places, strict=True)]
            )
            for field in fields(WindowTargets)
        }
        now = torch.tensor([now for _, now in windows]).view(shape)
        return WindowBatch(frames, rows.view(*shape, -1), now, now[:, :-1] >= 0, WindowTargets(**parts))

    def _past(self, stream: int, now: int) -> tuple[int, ...]:
        flag = self.streams[stream].targets.flag
        stored = (frame for frame in range(now - self.window, -1, -self.window) if flag[frame])
        latest = [frame for frame, _ in zip(stored, range(self.capacity), strict=False)]
        return tuple(reversed(latest))

    def _padded(self, place: WindowPlace) -> list[int]:
        """Return the newest frames of all windows of a place, -1 for those that its memory lacks."""
        return [-1] * (self.capacity - len(place.past)) + [*place.past, place.now]

    def _gather(
        self, windows: Sequence[tuple[int, int]]
    ) -> tuple[Int[Tensor, "window frame"], Float[Tensor, "row feature"]]:
        """Return the rows of the frames of windows, and these frames without repetition after one of zeros."""
        stream, now = (np.array(column)[:, None] for column in zip(*windows, strict=True))
        frame = now - np.arange(self.window - 1, -1, -1)
        exists = (frame >= 0) & (now >= 0)
        longest = max(len(each.features) for each in self.streams)
        keys, rows = np.unique(np.where(exists, stream * longest + frame, -1), return_inverse=True)
        keys = keys[keys >= 0]
        places = np.divmod(keys, longest)
        features = [
            self.streams[index].features[torch.from_numpy(places[1][places[0] == index])]
            for index in np.unique(places[0])
        ]
        blank = torch.zeros(1, self.streams[0].features.shape[1])
        # Row 0 is the key -1, if there is one.
        shifted = rows.reshape(frame.shape) + int(bool(exists.all()))
        return torch.from_numpy(shifted), torch.cat([blank, *features])

    def _all_places(self, generator: np.random.Generator) -> Int[np.ndarray, "place 2"]:
        order = generator.permutation(len(self.streams))
        lengths = [len(self.streams[index].features) for index in order]
        places = [
            np.stack([np.full(length, index), np.arange(length)], 1)
            for index, length in zip(order, lengths, strict=True)
        ]
        return np.concatenate(places)

    def _balanced(
        self, places: Int[np.ndarray, "place 2"], number: int, generator: np.random.Generator
    ) -> Int[np.ndarray, "drawn 2"]:
        """Draw from all places, half of them from those whose window is to find an action."""
        streams = dict.fromkeys(places[:, 0].tolist())  # in their order
        has_target = np.concatenate([self.streams[index].has_target for index in streams])
        wanted = places[has_target] if has_target.any() else places
        half = number // 2
        drawn = [
            wanted[generator.integers(len(wanted), size=half)],
            places[generator.integers(len(places), size=number - half)],
        ]
        mixed: Int[np.ndarray, "drawn 2"] = generator.permutation(np.concatenate(drawn))
        return mixed
