"""A stream of frames, each a feature vector or raw measurement, with its annotated actions."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from mnemic_vision.matr.actions import Action


@dataclass(frozen=True)
class ActionStream:
    """A stream that is read when it is needed.

    Attributes:
        name: unique in its data set.
        duration: seconds.
        num_frames: feature frames.
        actions: annotated actions, by start; empty without annotation.
        load: reads the frames, one row each.
    """

    name: str
    duration: float
    num_frames: int
    actions: tuple[Action, ...]
    load: Callable[[], Float[np.ndarray, "frame channel"]] = field(repr=False)

    @property
    def frame_time(self) -> float:
        """Seconds per frame, as the official code counts: the duration shared among the frames."""
        return self.duration / self.num_frames
