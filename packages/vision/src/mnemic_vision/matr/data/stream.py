"""A stream of frames, each a feature vector or raw measurement, with its annotated actions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from mnemic_vision.matr.actions import Action

# What a frame consists of: learned features, positions of joints, or an accelerometer and a gyroscope.
StreamKind: TypeAlias = Literal["plain", "skeleton", "sensor"]


@dataclass(frozen=True)
class ActionStream:
    """A stream that is read when it is needed.

    Attributes:
        name: unique in its data set.
        duration: seconds.
        num_frames: feature frames.
        actions: annotated actions, by start; empty without annotation.
        load: reads the frames, one row each.
        offset: time of the first frame, in seconds; frame i lies at ``offset + i * frame_time``.
        lookahead: seconds after its time at which a frame can be known, where features are computed from clips around
            a frame; to be added to the time at which an action is emitted.
    """

    name: str
    duration: float
    num_frames: int
    actions: tuple[Action, ...]
    load: Callable[[], Float[np.ndarray, "frame channel"]] = field(repr=False)
    offset: float = 0.0
    lookahead: float = 0.0

    @property
    def frame_time(self) -> float:
        """Seconds per frame, as the official code counts: the duration shared among the frames."""
        return self.duration / self.num_frames

    def in_memory(self) -> "ActionStream":
        """Return the stream with its frames read and kept."""
        return replace(self, load=partial(_give, self.load()))

    @classmethod
    def of_frames(
        cls,
        name: str,
        frames: Float[np.ndarray, "frame channel"],
        actions: tuple[Action, ...],
        frame_time: float,
    ) -> "ActionStream":
        """Return a stream that is kept in memory.

        Args:
            name: unique in its data set.
            frames: one row each; they must not be changed afterwards.
            actions: annotated actions, by start.
            frame_time: seconds per frame.

        Example:
            >>> ActionStream.of_frames("walk", np.zeros((5, 3), np.float32), (), frame_time=0.2).duration
            1.0
        """
        return cls(name, len(frames) * frame_time, len(frames), actions, partial(_give, frames))


def _give(frames: Float[np.ndarray, "frame channel"]) -> Float[np.ndarray, "frame channel"]:
    """Return the frames; unlike a lambda, a partial of this can be sent to other processes."""
    return frames


@dataclass(frozen=True)
class ActionStreams:
    """The streams of a data set.

    Attributes:
        streams: in the order of their annotations.
        classes: names of the classes.
        num_channels: width of a frame as `ActionStream.load` gives it; 0 without any stream.
        kind: what a frame consists of, as far as the files tell.
    """

    streams: list[ActionStream]
    classes: tuple[str, ...]
    num_channels: int
    kind: StreamKind = "plain"

    def __len__(self) -> int:
        return len(self.streams)

    def __iter__(self) -> Iterator[ActionStream]:
        return iter(self.streams)
