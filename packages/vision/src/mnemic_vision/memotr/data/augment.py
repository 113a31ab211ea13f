"""Augmentation of clips, the same for all frames of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from mnemic_core.errors import UserError, check_range
from mnemic_vision.boxes import xywh_to_cxcywh
from mnemic_vision.images import normalize
from mnemic_vision.memotr.data.sequence import TargetRows
from mnemic_vision.memotr.targets import Target


@dataclass(frozen=True)
class Clip:
    """Frames of a sequence, normalized with ImageNet's mean and standard deviation, with their ground truth."""

    images: Float[Tensor, "frame 3 height width"]
    targets: list[Target]


@dataclass(frozen=True)
class RawClip:
    """A clip before and during the augmentation, as RGB bytes with ground truth in pixels."""

    images: UInt8[Tensor, "frame 3 height width"]
    rows: list[TargetRows]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.images.shape[2], self.images.shape[3]


@dataclass(frozen=True)
class ClipAugmentation:
    """Flip, random crop, resize and color jitter of MeMOTR (``data/transforms.py``); defaults for DanceTrack.

    A crop is taken from the clip resized to one of ``crop_scales``; in any case the result is resized to one of
    ``scales``.

    Attributes:
        scales: lengths of the shorter side, one of which is chosen, in pixels.
        max_size: maximum length of the longer side, in pixels.
        crop_prob: probability of a crop.
        crop_scales: lengths of the shorter side before the crop.
        crop_size: minimum and maximum side of the crop, in pixels.
        overflow_boxes: keep boxes that extend beyond the crop (MOT17, BDD100K) instead of clipping them.
        flip_prob: probability of a horizontal flip.
        hsv_gains: maximum change of hue, saturation and value, in OpenCV's units (hue 0 to 179, others 0 to 255).
        reverse_prob: probability of reversing the clip.

    Example:
        >>> small = ClipAugmentation(scales=(64,), max_size=96, crop_scales=(72,), crop_size=(48, 72))
        >>> rows = TargetRows(np.array([5]), np.array([0]), np.array([[8, 8, 16, 32]], np.float32), np.ones(1, "f4"))
        >>> frames = torch.zeros(2, 3, 48, 64, dtype=torch.uint8)
        >>> clip = small(RawClip(frames, [rows, rows]), np.random.default_rng(0))
        >>> clip.images.shape[:2], clip.targets[0].ids
        (torch.Size([2, 3]), tensor([5]))
    """

    scales: tuple[int, ...] = tuple(range(608, 993, 32))
    max_size: int = 1536
    crop_prob: float = 0.5
    crop_scales: tuple[int, ...] = (800, 1000, 1200)
    crop_size: tuple[int, int] = (800, 1200)
    overflow_boxes: bool = False
    flip_prob: float = 0.5
    hsv_gains: tuple[int, int, int] = (5, 30, 30)
    reverse_prob: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop_size[0] <= self.crop_size[1]:
            raise UserError(f"crop_size must be (minimum, maximum), both above 0, got {self.crop_size}")
        for name in ("scales", "crop_scales"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise UserError(f"{name} must be one or more lengths in pixels, got {getattr(self, name)}")
        check_range(self, 1, inf, "max_size")
        check_range(self, 0, 1, "crop_prob", "flip_prob", "reverse_prob")
        check_range(self, 0, inf, "hsv_gains")

    def __call__(self, clip: RawClip, generator: np.random.Generator) -> Clip:
        """Return the augmented clip."""
        # Some data sets annotate people outside of the image; nothing can be learned from these boxes.
        clip = crop(clip, (0, 0, *clip.size), overflow_boxes=True)
        if generator.random() < self.flip_prob:
            clip = flip(clip)
        if generator.random() < self.crop_prob:
            clip = resize(clip, int(generator.choice(self.crop_scales)))
            clip = self._crop(clip, generator)
        clip = resize(clip, int(generator.choice(self.scales)), self.max_size)
        clip = jitter(clip, self.hsv_gains, generator)
        if generator.random() < self.reverse_prob:
            clip = RawClip(clip.images.flip(0), clip.rows[::-1])
        return to_network(clip)

    def _crop(self, clip: RawClip, generator: np.random.Generator) -> RawClip:
        shortest, longest = self.crop_size
        height, width = (
            int(generator.integers(min(side, shortest), min(side, longest), endpoint=True)) for side in clip.size
        )
        top = int(generator.integers(clip.size[0] - height, endpoint=True))
        left = int(generator.integers(clip.size[1] - width, endpoint=True))
        return crop(clip, (top, left, height, width), overflow_boxes=self.overflow_boxes)


def flip(clip: RawClip) -> RawClip:
    """Flip a clip horizontally."""
    width = clip.size[1]
    rows = []
    for row in clip.rows:
        boxes = row.boxes.copy()
        boxes[:, 0] = width - boxes[:, 0] - boxes[:, 2]
        rows.append(row._replace(boxes=boxes))
    return RawClip(clip.images.flip(3), rows)


def resize(clip: RawClip, short: int, max_size: int | None = None) -> RawClip:
    """Resize the shorter side to ``short`` pixels, or the longer one to ``max_size`` if it would be longer."""
    scale = short / min(clip.size)
    if max_size is not None:
        scale = min(scale, max_size / max(clip.size))
    height, width = (max(1, round(side * scale)) for side in clip.size)
    return resize_to(clip, (height, width))


def resize_to(clip: RawClip, size: tuple[int, int]) -> RawClip:
    """Resize a clip to (height, width) with anti-aliasing."""
    if clip.size == size:
        return clip
    ratio = np.array([size[1] / clip.size[1], size[0] / clip.size[0]] * 2, dtype=np.float32)
    images = tv.resize(clip.images, list(size), antialias=True)
    return RawClip(images, [row._replace(boxes=row.boxes * ratio) for row in clip.rows])


def crop(clip: RawClip, rectangle: tuple[int, int, int, int], *, overflow_boxes: bool = False) -> RawClip:
    """Return a rectangle (top, left, height, width) of a clip, without the boxes outside of it.

    Boxes that are partly inside are clipped unless ``overflow_boxes``.
    """
    top, left, height, width = rectangle
    images = clip.images[:, :, top : top + height, left : left + width]
    rows = []
    for row in clip.rows:
        boxes = row.boxes - np.array([left, top, 0, 0], dtype=np.float32)
        inside = clip_boxes(boxes, (height, width))
        keep = inside[:, 2:].min(axis=1) > 0
        kept = row._replace(boxes=boxes if overflow_boxes else inside)
        rows.append(TargetRows(*(column[keep] for column in kept)))
    return RawClip(images, rows)


def clip_boxes(boxes: Float[np.ndarray, "object 4"], size: tuple[int, int]) -> Float[np.ndarray, "object 4"]:
    """Clip xywh boxes to an image of (height, width); boxes outside get size 0."""
    limit = np.array(size[::-1], dtype=boxes.dtype)
    first = boxes[:, :2].clip(0, limit)
    last = (boxes[:, :2] + boxes[:, 2:]).clip(0, limit)
    return np.concatenate([first, last - first], axis=1)


def jitter(clip: RawClip, gains: tuple[int, int, int], generator: np.random.Generator) -> RawClip:
    """Shift hue, saturation and value, each with probability one half, by up to its gain."""
    amounts = (generator.uniform(-1, 1, 3) * gains * generator.integers(0, 2, 3)).astype(int)
    if not amounts.any():
        return clip
    # Hue wraps around, and has 256 steps in Pillow and 180 in OpenCV.
    levels = np.arange(256)
    tables = [(levels + round(amounts[0] * 256 / 180)) % 256, *(np.clip(levels + n, 0, 255) for n in amounts[1:])]
    images = [_apply(tables, image) for image in clip.images]
    return replace(clip, images=torch.stack(images))


def _apply(tables: Sequence[np.ndarray], image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 height width"]:
    channels = tv.to_pil_image(image).convert("HSV").split()
    changed = [channel.point(table.tolist()) for channel, table in zip(channels, tables, strict=True)]
    pixels = np.array(Image.merge("HSV", changed).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_network(clip: RawClip) -> Clip:
    """Normalize colors, and convert boxes to centers and sizes relative to the image."""
    height, width = clip.size
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    targets = [
        Target(
            boxes=xywh_to_cxcywh(torch.from_numpy(row.boxes) / scale),
            labels=torch.from_numpy(row.labels),
            ids=torch.from_numpy(row.ids),
        )
        for row in clip.rows
    ]
    return Clip(normalize(clip.images), targets)


def shift_still(
    image: UInt8[Tensor, "3 height width"],
    rows: TargetRows,
    length: int,
    generator: np.random.Generator,
    *,
    max_shift: int = 50,
    overflow_boxes: bool = True,
) -> RawClip:
    """Return a clip of a still image as if a camera moved over it (joint training with CrowdHuman).

    Each frame is the previous one without the columns and rows that a shift of the clip moves out, resized back; half
    of the clips are reversed. The official code treats shifts to the left and to the right differently by mistake (max
    for min); here they are symmetric.

    Args:
        image: RGB bytes.
        rows: its objects.
        length: frames of the clip.
        generator: random numbers.
        max_shift: maximum shift between two frames in pixels; at most a quarter of the image.
        overflow_boxes: keep boxes that extend beyond the image instead of clipping them.
    """
    height, width = image.shape[1:]
    across = int(generator.integers(-min(max_shift, width // 4), min(max_shift, width // 4), endpoint=True))
    down = int(generator.integers(-min(max_shift, height // 4), min(max_shift, height // 4), endpoint=True))
    rectangle = (max(0, down), max(0, across), height - abs(down), width - abs(across))
    frames = [RawClip(image[None], [rows])]
    for _ in range(length - 1):
        frames.append(resize_to(crop(frames[-1], rectangle, overflow_boxes=overflow_boxes), (height, width)))
    if generator.random() < 0.5:
        frames.reverse()
    return RawClip(torch.cat([frame.images for frame in frames]), [frame.rows[0] for frame in frames])
