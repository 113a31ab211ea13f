"""A sequence of frames with its ground truth, whatever data set it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.video import read_image


class TargetRows(NamedTuple):
    """The objects of one frame.

    Attributes:
        ids: identity within the sequence.
        labels: class, from 0.
        boxes: left, top, width, height in pixels; may reach beyond the image.
        visibility: share of the object that can be seen, 0 to 1; 1 where the data set does not tell.
    """

    ids: Int64[np.ndarray, " object"]
    labels: Int64[np.ndarray, " object"]
    boxes: Float32[np.ndarray, "object 4"]
    visibility: Float32[np.ndarray, " object"]


@dataclass(frozen=True)
class Annotations:
    """Ground truth of a sequence in five arrays, sorted by frame.

    Loader processes share arrays without copying them; nested lists would be copied page by page (MOTIP issue 31).

    Attributes:
        starts: the objects of frame i are rows ``starts[i]`` to ``starts[i + 1]``.
        rows: the objects of all frames.
        labeled: True for frames that were annotated, even when they hold no object.
    """

    starts: Int64[np.ndarray, " boundary"]
    rows: TargetRows
    labeled: Bool[np.ndarray, " frame"]

    @classmethod
    def from_rows(
        cls, frames: Int64[np.ndarray, " object"], rows: TargetRows, labeled: Bool[np.ndarray, " frame"]
    ) -> "Annotations":
        """Sort rows by frame.

        Args:
            frames: frame of each row, from 0.
            rows: the objects in any order.
            labeled: True for frames that were annotated.
        """
        order = np.argsort(frames, kind="stable")
        starts = np.searchsorted(frames[order], np.arange(len(labeled) + 1))
        return cls(starts, TargetRows(*(column[order] for column in rows)), labeled)

    def frame(self, index: int) -> TargetRows:
        """Return the objects of one frame, counted from 0."""
        return TargetRows(*(column[self.starts[index] : self.starts[index + 1]] for column in self.rows))


@runtime_checkable
class Frames(Protocol):
    """Images by index, all RGB bytes (3, height, width)."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]:
        """Return one image, counted from 0."""


@dataclass(frozen=True)
class ImageFiles:
    """Frames that are image files, decoded when asked for.

    Attributes:
        folder: where the files are.
        names: one file name for each frame.
    """

    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]:
        return torch.from_numpy(read_image(self.folder / self.names[index]).copy()).permute(2, 0, 1)


@dataclass(frozen=True)
class TrackingSequence:
    """Frames in order, with or without ground truth.

    Attributes:
        name: name in results and messages.
        frames: the images.
        image_size: (height, width) of the first frame in pixels.
        frame_rate: frames per second.
        annotations: ground truth, if there is any.
        are_stills: True when the frames are unrelated pictures instead of a video.
    """

    name: str
    frames: Frames = field(repr=False)
    image_size: tuple[int, int]
    frame_rate: float
    annotations: Annotations | None = field(default=None, repr=False)
    are_stills: bool = False

    @property
    def num_frames(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    @property
    def has_ground_truth(self) -> bool:
        """Whether ``target_rows`` can be asked."""
        return self.annotations is not None

    def image(self, index: int) -> UInt8[Tensor, "3 height width"]:
        """Return the RGB bytes of a frame, counted from 0."""
        return self.frames[index]

    def target_rows(self, index: int) -> TargetRows:
        """Return the objects of a frame, counted from 0: ids, labels, boxes (xywh in pixels) and visibility.

        Raises:
            UserError: the sequence has no ground truth.
        """
        if self.annotations is None:
            raise UserError(f"sequence {self.name} has no ground truth; add gt/gt.txt to its folder")
        return self.annotations.frame(index)
