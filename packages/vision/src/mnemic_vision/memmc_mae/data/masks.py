"""Masks of anomalous pixels: reading them, and finding the image of each."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.picture_files import read_picture

Box: TypeAlias = tuple[float, float, float, float]  # left, top, width, height in pixels

SUFFIX = "_mask"
ASPECT_TOLERANCE = 0.02  # sizes of an image and its mask may be rounded differently
_LOSSY = (".jpg", ".jpeg", ".webp")


def read_mask(path: Path, height: int, width: int) -> Bool[Tensor, "height width"]:
    """Return True at anomalous pixels, at the size of the image.

    A pixel is anomalous from half of the full range on. A lossless mask that stays below it everywhere holds numbers of
    classes: then all but 0 is anomalous. A mask of another size is resized without new values.

    Args:
        path: the mask, of any number of channels, of which the largest value counts.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, or its ratio of sides is not the image's: it belongs to another image.
    """
    values = read_picture(path).pixels.amax(0)
    rows, columns = values.shape
    if abs(rows * width - columns * height) > ASPECT_TOLERANCE * rows * width:
        raise UserError(
            f"mask {path} has {columns}x{rows} pixels, its image {width}x{height}; they need the same ratio of sides"
        )
    are_classes = values.max() < 0.5 and path.suffix.lower() not in _LOSSY
    mask = values > 0 if are_classes else values >= 0.5
    if mask.shape == (height, width):
        return mask
    return F.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")[0, 0] > 0.5


def fill_boxes(boxes: Iterable[Box], height: int, width: int) -> Bool[Tensor, "height width"]:
    """Return True in the given boxes, whose sides are rounded to pixels."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for left, top, box_width, box_height in boxes:
        rows = slice(max(0, round(top)), max(0, round(top + box_height)))
        mask[rows, max(0, round(left)) : max(0, round(left + box_width))] = True
    return mask


def pair_by_stem(masks: Sequence[Path], images: Sequence[Path]) -> dict[Path, Path]:
    """Return the mask of each image that has one: the same name without ending, with or without ``_mask``.

    Raises:
        UserError: a mask has no image or several, or an image has several masks.
    """
    by_stem = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    pairs: dict[Path, Path] = {}
    for mask in masks:
        found = by_stem.get(mask.stem) or by_stem.get(mask.stem.removesuffix(SUFFIX), [])
        add_pair(pairs, mask, found)
    return pairs


def add_pair(pairs: dict[Path, Path], mask: Path, found: Sequence[Path]) -> None:
    """Add a mask for the only image found.

    Raises:
        UserError: there is not exactly one, or it has a mask.
    """
    if not found:
        raise UserError(f"mask {mask} has no image; name it as its image, with or without {SUFFIX}, or remove it")
    if len(found) > 1:
        raise UserError(f"mask {mask} could belong to {found[0]} or {found[1]}; put masks in folders as the images are")
    if found[0] in pairs:
        raise UserError(f"{found[0]} has two masks, {pairs[found[0]]} and {mask}; remove one")
    pairs[found[0]] = mask
