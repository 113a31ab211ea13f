"""From the files that a layout lists to samples: the same for every layout."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_vision.memmc_mae.data.masks import Box, fill_boxes, read_mask
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, ImageSample, Split
from mnemic_vision.picture_files import read_picture


@dataclass(frozen=True)
class Splits:
    """How images are divided where the data set does not say it.

    Normal images go to all parts, anomalous ones to validation and test in the same proportion. A set with a training
    but no validation part gives normal images of training to validation. Which image goes where depends on the seed
    and the names only. The normal images of a patient stay together, and so do the anomalous ones.

    Attributes:
        val: share of the normal images for validation.
        test: share of the normal images for testing.
        seed: another one divides otherwise.
    """

    val: float = 0.15
    test: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "val", "test")
        check_range(self, 0, 2**63, "seed")
        if self.val + self.test >= 1:
            raise UserError(f"val and test together must leave images for training, got {self.val} + {self.test}")


@dataclass(frozen=True)
class ListedImage:
    """An image file as a layout lists it.

    Attributes:
        path: the file.
        label: 0 normal, 1 anomalous, None unknown.
        split: its part; None if the data set does not say it.
        group: finding or defect.
        source: hospital or collection.
        patient: images of one patient stay in one part; "" if unknown.
        mask_path: file of its mask.
        boxes: outlines of what is anomalous, instead of a mask.
    """

    path: Path
    label: int | None
    split: Split | None = None
    group: str = ""
    source: str = ""
    patient: str = ""
    mask_path: Path | None = None
    boxes: tuple[Box, ...] = ()


def as_samples(root: Path, images: Sequence[ListedImage], splits: Splits) -> list[ImageSample]:
    """Return listed images as samples with a part each.

    Raises:
        UserError: some images have a part and others have none, or an image is listed twice.
    """
    has_masks = any(image.mask_path or image.boxes for image in images)
    samples = [_as_sample(root, image, has_masks) for image in _divide(images, splits)]
    seen: set[str] = set()
    for sample in samples:
        if sample.name in seen:
            raise UserError(f"{sample.name} is listed twice in {root}; remove one of the two")
        seen.add(sample.name)
    return samples


def _as_sample(root: Path, image: ListedImage, has_masks: bool) -> ImageSample:
    """Return a sample; without a mask of its own a normal image of a set with masks has an empty one."""
    load_mask = partial(_load_mask, image, has_masks)
    return ImageSample(
        name=_name(root, image.path),
        split=image.split or "test",
        label=image.label,
        group=image.group if image.label != NORMAL else "",
        path=image.path,
        mask_path=image.mask_path,
        load=partial(_load, image.path),
        load_mask=load_mask,
        source=image.source,
    )


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _load(path: Path) -> Float[Tensor, "channel height width"]:
    return read_picture(path).pixels


def _load_mask(image: ListedImage, has_masks: bool) -> Bool[Tensor, "height width"] | None:
    if not (image.mask_path or image.boxes or (has_masks and image.label == NORMAL)):
        return None
    height, width = _load(image.path).shape[1:]
    if image.boxes:
        return fill_boxes(image.boxes, height, width)
    if not image.mask_path:
        return torch.zeros(height, width, dtype=torch.bool)
    mask = read_mask(image.mask_path, height, width)
    if image.label == NORMAL and mask.any():
        raise UserError(f"mask {image.mask_path} marks anomalous pixels, but {image.path} is labeled normal")
    return mask


def _divide(images: Sequence[ListedImage], splits: Splits) -> list[ListedImage]:
    """Return the images with a part each."""
    unlabeled = [replace(image, split=image.split or "test") for image in images if image.label is None]
    labeled = [image for image in images if image.label is not None]
    given = [image for image in labeled if image.split]
    if given and len(given) < len(labeled):
        without = next(image.path for image in labeled if not image.split)
        raise UserError(
            f"some images belong to a part (train, val, test), but {without} does not; give all or none one"
        )
    if not given:
        return [*_draw_parts(labeled, splits), *unlabeled]
    if any(image.split == "val" for image in given):
        return [*given, *unlabeled]
    normals = [image for image in given if image.split == "train" and image.label == NORMAL]
    chosen = _draw(normals, splits.val, splits.seed)
    return [*(replace(image, split="val") if image in chosen else image for image in given), *unlabeled]


def _draw_parts(images: Sequence[ListedImage], splits: Splits) -> list[ListedImage]:
    held_out = splits.val + splits.test
    parts: dict[ListedImage, Split] = {}
    for label in (NORMAL, ANOMALOUS):
        same = [image for image in images if image.label == label]
        out = _draw(same, held_out if label == NORMAL else 1.0, splits.seed)
        val = _draw(
            [image for image in same if image in out], splits.val / held_out if held_out else 0, splits.seed + 1
        )
        parts |= {image: "train" if image not in out else "val" if image in val else "test" for image in same}
    return [replace(image, split=parts[image]) for image in images]


def _draw(images: Sequence[ListedImage], share: float, seed: int) -> set[ListedImage]:
    """Return a share of the images, all or none of a patient, chosen by hashes of their names."""

    def order(image: ListedImage) -> tuple[str, str]:
        key = image.patient or image.path.name
        return hashlib.sha256(f"{seed}/{key}".encode(errors="surrogateescape")).hexdigest(), key

    wanted, chosen = round(share * len(images)), set[ListedImage]()
    last = ""
    for image in sorted(images, key=order):
        if len(chosen) >= wanted and (not image.patient or image.patient != last):
            break
        chosen.add(image)
        last = image.patient
    return chosen
