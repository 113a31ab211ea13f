"""Images that are in two parts of a data set: a detector trained on one of them has seen the other."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.sample import ImageSample
from mnemic_vision.memmc_mae.preparation import prepare

SIDE = 16  # pixels of a thumbnail
NEAR = 2 / 255  # mean difference of thumbnails below which two images are taken for the same
_COARSE = 4  # pixels of the smaller thumbnails that rule out most pairs
_ROWS = 512  # images compared at once


@dataclass(frozen=True)
class Duplicate:
    """Two images in different parts that show the same; printed, it is a line for the user.

    Attributes:
        first: the one of the earlier part, train before val before test.
        second: the other one.
        is_exact: all pixels are equal; otherwise only the thumbnails nearly are.
    """

    first: ImageSample
    second: ImageSample
    is_exact: bool

    def __str__(self) -> str:
        same = "is the same image as" if self.is_exact else "looks the same as"
        return f"{self.first.name} ({self.first.split}) {same} {self.second.name} ({self.second.split})"


@dataclass(frozen=True)
class _Look:
    """What is compared: a digest of size and pixels, and a grey thumbnail."""

    sample: ImageSample
    digest: bytes
    thumbnail: Float[Tensor, "16 16"]


def find_duplicates(samples: Sequence[ImageSample], near: float = NEAR) -> list[Duplicate]:
    """Return images that have the same or nearly the same in a later part: rescaled, or compressed once more.

    Each is paired with the most similar one of the later part. Images are compared by the mean absolute difference of
    grey thumbnails of 16x16 pixels, so mirrored, rotated or cropped copies are not found, while images that differ in
    details only, such as neighboring frames of a video, are. Images that cannot be read are left out.

    Args:
        samples: of all parts; every image is read once.
        near: largest mean difference of the thumbnails, of the full range; 0 finds only equal pixels.
    """
    looks = [look for sample in samples if (look := _look(sample))]
    parts = {split: [look for look in looks if look.sample.split == split] for split in ("train", "val", "test")}
    orders = (("train", "val"), ("train", "test"), ("val", "test"))
    return [duplicate for first, second in orders for duplicate in _compare(parts[first], parts[second], near)]


def without_leaks(samples: Sequence[ImageSample], duplicates: Sequence[Duplicate]) -> list[ImageSample]:
    """Return the samples without the earlier one of each pair, so that the later part judges fairly as it is."""
    leaks = {duplicate.first.name for duplicate in duplicates}
    return [sample for sample in samples if sample.name not in leaks]


def _look(sample: ImageSample) -> _Look | None:
    try:
        image = sample.load()
    except (UserError, FileNotFoundError):
        return None
    pixels = image.contiguous().numpy()
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(pixels.data)
    return _Look(sample, digest.digest(), prepare(image, SIDE, channels=1)[0])


def _compare(first: Sequence[_Look], second: Sequence[_Look], near: float) -> Iterator[Duplicate]:
    if not first or not second:
        return
    exact = {look.digest: look.sample for look in second}
    thumbnails = [torch.stack([look.thumbnail for look in looks]) for looks in (first, second)]
    nearest = _nearest(thumbnails[0], thumbnails[1], near)
    for index, look in enumerate(first):
        if look.digest in exact:
            yield Duplicate(look.sample, exact[look.digest], is_exact=True)
        elif near > 0 and index in nearest:
            yield Duplicate(look.sample, second[nearest[index]].sample, is_exact=False)


def _nearest(first: Float[Tensor, "first 16 16"], second: Float[Tensor, "second 16 16"], near: float) -> dict[int, int]:
    """Return the most similar one of the second images for each of the first that has one within `near`.

    The mean difference of averages over blocks is never larger, so the small thumbnails rule out pairs safely.
    """
    coarse = [F.avg_pool2d(images, SIDE // _COARSE).flatten(1) for images in (first, second)]
    found: dict[int, int] = {}
    for start in range(0, len(first), _ROWS):
        is_candidate = torch.cdist(coarse[0][start : start + _ROWS], coarse[1], p=1) <= (near + 1e-6) * _COARSE**2
        one, two = (is_candidate.any(axis).nonzero()[:, 0] for axis in (1, 0))
        if not len(one):
            continue
        distance = torch.cdist(first[one + start].flatten(1), second[two].flatten(1), p=1) / SIDE**2
        smallest = distance.min(1)
        is_near = smallest.values <= near
        found |= dict(zip((one + start)[is_near].tolist(), two[smallest.indices][is_near].tolist(), strict=True))
    return found
