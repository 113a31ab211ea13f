"""Generated streams whose actions are known by a sign at their start and one at their end."""

from dataclasses import dataclass
from functools import partial
from math import inf, log
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mnemic_core.errors import UserError, check_range
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data.stream import ActionStream, ActionStreams
from mnemic_vision.matr.data.writing import write_annotated_streams

FRAME_TIME = 0.2  # seconds, as for THUMOS14 at 30 frames per second
SIGN_FRAMES = 3  # of a start or an end
PLATEAU = 0.3  # strength between start and end, of a sign's
CORRELATION = 0.8  # of the noise from frame to frame
_DIRECTIONS_SEED = 2408  # the same classes look alike in all sets


@dataclass(frozen=True)
class GeneratedActions:
    """A data set of feature streams; the same numbers give the same frames.

    A sign of its class begins an action, a weak one goes on, and another ends it, all in noise. Durations are
    log-uniform between 4 and 4 ``window`` frames: many starts lie outside of the window when the end is seen.

    Attributes:
        num_streams: how many streams.
        num_frames: frames of each.
        num_classes: different actions.
        num_channels: width of the features, at least two for a class.
        seed: give training and validation different ones; classes look alike in both.
        window: frames that a model sees at a time.
        noise: standard deviation of the background, of a sign's strength.
        hide_class: middle and end look alike for all classes; only who remembers the start can tell them apart.

    Example:
        >>> streams = GeneratedActions(num_streams=2, num_frames=300).open()
        >>> streams.classes[:2], streams.streams[0].num_frames, streams.num_channels
        (('class_0', 'class_1'), 300, 16)
    """

    num_streams: int = 16
    num_frames: int = 1000
    num_classes: int = 4
    num_channels: int = 16
    seed: int = 0
    window: int = 16
    noise: float = 0.15
    hide_class: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_streams", "num_frames", "num_classes", "window")
        check_range(self, 0, inf, "seed", "noise")
        if self.num_channels < 2 * self.num_classes:
            raise UserError(
                f"num_channels must be at least twice num_classes ({self.num_classes}), got {self.num_channels}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(f"class_{number}" for number in range(self.num_classes))

    def open(self) -> ActionStreams:
        """Return the streams; their frames are made when they are needed."""
        streams = [self._make_stream(index) for index in range(self.num_streams)]
        return ActionStreams(streams, self.classes, self.num_channels)

    def write(self, folder: str | Path, subset: str = "train") -> None:
        """Write the streams as a folder that `read_annotated_streams` reads.

        Raises:
            UserError: the folder exists.
        """
        write_annotated_streams({subset: self.open()}, folder)

    def _make_stream(self, index: int) -> ActionStream:
        spans = self._draw_spans(np.random.default_rng((self.seed, index, 0)))
        actions = tuple(
            Action(self.classes[number], start * FRAME_TIME, end * FRAME_TIME) for number, start, end in spans
        )
        duration = self.num_frames * FRAME_TIME
        load = partial(self._make_frames, index, spans)
        return ActionStream(f"generated_{self.seed}_{index:03d}", duration, self.num_frames, actions, load)

    def _draw_spans(self, generator: np.random.Generator) -> list[tuple[int, int, int]]:
        """Return class, first frame and frame after the last one of each action."""
        spans: list[tuple[int, int, int]] = []
        start = int(generator.integers(2, self.window + 2))
        while True:
            length = round(np.exp(generator.uniform(log(4), log(4 * self.window))))
            if start + length > self.num_frames:
                return spans
            spans.append((int(generator.integers(self.num_classes)), start, start + length))
            start += length + int(generator.integers(3, self.window + 3))

    def _make_frames(self, index: int, spans: list[tuple[int, int, int]]) -> Float32[np.ndarray, "frame channel"]:
        generator = np.random.default_rng((self.seed, index, 1))
        frames = generator.standard_normal((self.num_frames, self.num_channels))
        for frame in range(1, self.num_frames):
            frames[frame] = CORRELATION * frames[frame - 1] + (1 - CORRELATION**2) ** 0.5 * frames[frame]
        frames *= self.noise
        start_signs, end_signs = self._directions()
        for number, start, end in spans:
            sign = min(SIGN_FRAMES, (end - start) // 2)
            same = 0 if self.hide_class else number
            frames[start : start + sign] += start_signs[number]
            frames[start + sign : end - sign] += PLATEAU * end_signs[same]
            frames[end - sign : end] += end_signs[same]
        return frames.astype(np.float32)

    def _directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the signs of starts and of ends, all at right angles."""
        generator = np.random.default_rng(_DIRECTIONS_SEED)
        square = generator.standard_normal((self.num_channels, self.num_channels))
        signs = np.linalg.qr(square)[0].T
        return signs[: self.num_classes], signs[self.num_classes : 2 * self.num_classes]
