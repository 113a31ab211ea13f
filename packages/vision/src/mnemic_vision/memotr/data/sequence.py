"""Frames of a video with their ground truth, of any data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.video import read_image

# Frame from 0, identity, class from 0, (left, top, width, height) in pixels, visible share.
ObjectRow: TypeAlias = tuple[int, int, int, Sequence[float], float]


class TargetRows(NamedTuple):
    """The objects of one frame.

    Attributes:
        ids: identity within the sequence.
        labels: class, from 0.
        boxes: left, top, width, height in pixels; may extend beyond the image.
        visibility: visible share of the object, 0 to 1; 1 if not in the data set.
    """

    ids: Int64[np.ndarray, " object"]
    labels: Int64[np.ndarray, " object"]
    boxes: Float32[np.ndarray, "object 4"]
    visibility: Float32[np.ndarray, " object"]


class OtherKind(IntEnum):
    """How scoring treats an annotated box that is not an object to be found, as TrackEval does.

    Attributes:
        PASSIVE: it takes part in matching only; a track matched to it remains a false positive.
        DISTRACTOR: a track matched to it is not scored.
        REGION: unmatched tracks that lie inside it by more than half are not scored.
    """

    PASSIVE = 0
    DISTRACTOR = 1
    REGION = 2


@dataclass(frozen=True)
class OtherBoxes:
    """Annotated boxes of a sequence that are not objects to be found, but matter to its scores.

    Attributes:
        frames: counted from 0.
        boxes: left, top, width, height in pixels.
        kinds: values of `OtherKind`.
    """

    frames: Int64[np.ndarray, " box"]
    boxes: Float32[np.ndarray, "box 4"]
    kinds: Int64[np.ndarray, " box"]

    @classmethod
    def none(cls) -> "OtherBoxes":
        """Return no boxes."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Annotations:
    """Ground truth of a sequence in arrays, which loader processes share, whereas lists would be copied page by page.

    Attributes:
        starts: the objects of frame i are rows ``starts[i]`` to ``starts[i + 1]``.
        rows: the objects of all frames.
        labeled: True at annotated frames, with or without objects.
        others: boxes that are not objects.
    """

    starts: Int64[np.ndarray, " boundary"]
    rows: TargetRows
    labeled: Bool[np.ndarray, " frame"]
    others: OtherBoxes = field(default_factory=OtherBoxes.none)

    @classmethod
    def from_rows(
        cls,
        frames: Int64[np.ndarray, " object"],
        rows: TargetRows,
        labeled: Bool[np.ndarray, " frame"],
        others: OtherBoxes | None = None,
    ) -> "Annotations":
        """Return the annotations of objects in any order, with their frames counted from 0."""
        order = np.argsort(frames, kind="stable")
        starts = np.searchsorted(frames[order], np.arange(len(labeled) + 1))
        return cls(starts, TargetRows(*(column[order] for column in rows)), labeled, others or OtherBoxes.none())

    @classmethod
    def from_objects(
        cls, objects: Sequence[ObjectRow], labeled: Bool[np.ndarray, " frame"], others: OtherBoxes | None = None
    ) -> "Annotations":
        """Return the annotations of objects in any order."""
        frames, ids, labels, boxes, visibility = zip(*objects, strict=True) if objects else ((),) * 5
        rows = TargetRows(
            ids=np.array(ids, dtype=np.int64),
            labels=np.array(labels, dtype=np.int64),
            boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
            visibility=np.array(visibility, dtype=np.float32),
        )
        return cls.from_rows(np.array(frames, dtype=np.int64), rows, labeled, others)

    def frame(self, index: int) -> TargetRows:
        """Return the objects of one frame, counted from 0."""
        return TargetRows(*(column[self.starts[index] : self.starts[index + 1]] for column in self.rows))


@runtime_checkable
class Frames(Protocol):
    """RGB images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]: ...


@dataclass(frozen=True)
class ImageFiles:
    """Frames in image files of a folder, decoded on access."""

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
        annotations: ground truth, if any.
        are_stills: True if the frames are unrelated images instead of a video.
    """

    name: str
    frames: Frames = field(repr=False)
    image_size: tuple[int, int]
    frame_rate: float
    annotations: Annotations | None = field(default=None, repr=False)
    are_stills: bool = False

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def has_ground_truth(self) -> bool:
        """Whether there is ground truth for ``target_rows``."""
        return self.annotations is not None

    @property
    def has_objects(self) -> bool:
        """Whether any frame is annotated with an object."""
        return self.annotations is not None and len(self.annotations.rows.ids) > 0

    @property
    def others(self) -> OtherBoxes:
        """Annotated boxes that are not objects."""
        return OtherBoxes.none() if self.annotations is None else self.annotations.others

    def image(self, index: int) -> UInt8[Tensor, "3 height width"]:
        """Return a frame, counted from 0, as RGB bytes."""
        return self.frames[index]

    def target_rows(self, index: int) -> TargetRows:
        """Return the objects of a frame, counted from 0.

        Raises:
            UserError: the sequence has no ground truth.
        """
        if self.annotations is None:
            raise UserError(f"sequence {self.name} has no ground truth; add gt/gt.txt to its folder")
        return self.annotations.frame(index)
