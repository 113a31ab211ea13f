"""Lesions pasted into normal images: a test of detection and localization for any set of normal images.

Where anomalies are rare or not outlined, a detector can still be asked whether it finds what was put into images it has
never seen. The lesions are made up and stand for no disease.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_vision.memmc_mae.data.blob import Window, draw_blob
from mnemic_vision.memmc_mae.data.lesion_kinds import PAINTERS, Canvas, LesionKind, with_channels
from mnemic_vision.memmc_mae.data.placing import Ground, local_variation
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, ImageSample

LESION_KINDS: tuple[LesionKind, ...] = get_args(LesionKind)
NUM_TRIES = 12  # places and shapes, of which the first one that is visible enough is taken
IRREGULARITY = 0.12  # of the contour, relative to the radius

Channels = Float[np.ndarray, "channel height width"]


@dataclass(frozen=True)
class LesionSettings:
    """How lesions look.

    Attributes:
        kinds: ``bright`` and ``dark`` opacities, ``blur`` and ``noise`` of the texture, and ``foreign``, a
            piece of another image whose border is fitted to its new surroundings. One is drawn for each image.
        area: smallest and largest area, as a share of the image.
        contrast: smallest and largest root mean square change of the pixels in the lesion, relative to the
            `local_variation` of the image. Well below 0.5 a lesion is hard to see, above 2 it is glaring. If none of
            several shapes and places allows it, the lesion that comes nearest is taken: blurring a smooth region
            changes little.
        seed: another one gives other lesions.
    """

    kinds: tuple[LesionKind, ...] = LESION_KINDS
    area: tuple[float, float] = (0.01, 0.08)
    contrast: tuple[float, float] = (0.6, 1.4)
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0.0005, 0.3, "area")
        check_range(self, 0.01, 20, "contrast")
        check_range(self, 0, inf, "seed")
        if not self.kinds or self.area[0] > self.area[1] or self.contrast[0] > self.contrast[1]:
            raise UserError(f"lesions need a kind, and area and contrast from small to large, got {self}")


@dataclass(frozen=True)
class Lesion:
    """An image with a lesion.

    Attributes:
        image: the image; pixels without lesion are as they were.
        mask: True where the opacity of the lesion is one half at least. Outside, its soft border fades out.
        kind: of the lesion.
    """

    image: Float[Tensor, "channel height width"]
    mask: Bool[Tensor, "height width"]
    kind: LesionKind


def with_lesions(
    normals: Sequence[ImageSample], donors: Sequence[ImageSample], settings: LesionSettings | None = None
) -> list[ImageSample]:
    """Return every normal image twice: as it is, and with a lesion in it, labeled and with a mask.

    Both versions are kept, rather than a lesion in one half of the images: both classes then have the same distribution
    of everything else, and twice as many images judge. A detector that sees one image at a time gains nothing by it,
    but intervals should draw the two versions together. Of the pairs that the AUROC of n images counts, one in n is of
    the same image, so it exceeds that of different images by (1 - AUROC) / n at most.

    Args:
        normals: held-out images; those not labeled normal are refused.
        donors: images that give pieces for ``foreign``, best those of training.
        settings: of the lesions; the default if None.

    Raises:
        UserError: an image is not labeled normal, or there is no donor for ``foreign``.
    """
    settings = settings or LesionSettings()
    if "foreign" in settings.kinds and not donors:
        raise UserError("lesions of the kind foreign need images to take pieces from; give donors or other kinds")
    for sample in normals:
        if sample.label != NORMAL:
            raise UserError(f"lesions are pasted into normal images, but {sample.name} is not labeled normal")
    return [version for sample in normals for version in _versions(sample, tuple(donors), settings)]


def paste_lesion(
    image: Float[Tensor, "channel height width"],
    name: str,
    settings: LesionSettings | None = None,
    donor: Float[Tensor, "donor_channel donor_height donor_width"] | None = None,
) -> Lesion:
    """Return an image with a lesion; the same name, seed and pixels give the same one.

    Args:
        image: in [0, 1].
        name: of the image: it decides kind, shape and place.
        settings: of the lesion; the default if None.
        donor: image that ``foreign`` takes a piece of, of any size; the image itself if None.

    Example:
        >>> lesion = paste_lesion(torch.full((1, 64, 64), 0.5), "a.png", LesionSettings(kinds=("bright",)))
        >>> lesion.kind, bool((lesion.image[0][lesion.mask] > 0.5).all())
        ('bright', True)
    """
    settings = settings or LesionSettings()
    generator = _generator(settings.seed, name, "lesion")
    kind, pixels = _draw_kind(name, settings), image.numpy().astype(np.float64)
    foreign = pixels if donor is None else with_channels(donor.numpy().astype(np.float64), len(pixels))
    ground, variation = Ground.of_image(pixels.mean(0)), local_variation(pixels.mean(0))
    low, high = (factor * variation for factor in settings.contrast)
    contrast = generator.uniform(low, high)
    patches = []
    for _ in range(NUM_TRIES):
        patch = _paint(pixels, foreign, ground, kind, contrast, settings.area, generator)
        patches.append(patch)
        if low <= patch.change <= high:
            break
    return _apply(min(patches, key=lambda patch: max(low - patch.change, patch.change - high)), image, kind)


@dataclass(frozen=True)
class _Patch:
    """A lesion that could be pasted.

    Attributes:
        window: rows and columns of the image that it changes.
        pixels: the changed part of the image.
        mask: True in the lesion.
        change: root mean square change there.
    """

    window: Window
    pixels: Channels
    mask: Bool[np.ndarray, "height width"]
    change: float


def _paint(
    pixels: Channels,
    foreign: Float[np.ndarray, "channel _ _"],
    ground: Ground,
    kind: LesionKind,
    contrast: float,
    area: tuple[float, float],
    generator: np.random.Generator,
) -> _Patch:
    height, width = pixels.shape[1:]
    irregularity = IRREGULARITY * generator.integers(2)  # every other one is an ellipse
    blob = draw_blob(generator, area, bumps=irregularity)
    blob, softness = replace(blob, center=ground.draw_center(blob, generator)), generator.uniform(0.1, 0.4)
    window = blob.window(height, width, softness)
    opacity = blob.opacity(height, width, softness, window)
    part, scale = pixels[:, *window], (foreign.shape[1] / height, foreign.shape[2] / width)
    canvas = Canvas(part, opacity, foreign, scale, (height * width) ** 0.5, contrast)
    changed = np.clip(part + opacity * (PAINTERS[kind](canvas, generator) - part), 0, 1)
    mask = opacity >= 0.5
    return _Patch(window, changed, mask, float(np.sqrt(np.mean((changed - part)[:, mask] ** 2))))


def _apply(patch: _Patch, image: Float[Tensor, "channel height width"], kind: LesionKind) -> Lesion:
    changed, mask = image.clone(), torch.zeros(image.shape[1:], dtype=torch.bool)
    changed[:, *patch.window] = torch.from_numpy(patch.pixels.astype(np.float32))
    mask[*patch.window] = torch.from_numpy(patch.mask)
    return Lesion(changed, mask, kind)


def _versions(
    sample: ImageSample, donors: tuple[ImageSample, ...], settings: LesionSettings
) -> tuple[ImageSample, ImageSample]:
    donor = donors[int(_generator(settings.seed, sample.name, "donor").integers(len(donors)))] if donors else None
    return replace(sample, group="", load_mask=partial(_empty_mask, sample)), replace(
        sample,
        name=f"{sample.name}+lesion",
        label=ANOMALOUS,
        group=_draw_kind(sample.name, settings),
        load=partial(_load, sample, donor, settings),
        load_mask=partial(_load_mask, sample, donor, settings),
    )


def _paste(sample: ImageSample, donor: ImageSample | None, settings: LesionSettings) -> Lesion:
    needed = donor is not None and _draw_kind(sample.name, settings) == "foreign"
    return paste_lesion(sample.load(), sample.name, settings, donor.load() if donor and needed else None)


def _load(
    sample: ImageSample, donor: ImageSample | None, settings: LesionSettings
) -> Float[Tensor, "channel height width"]:
    return _paste(sample, donor, settings).image


def _load_mask(
    sample: ImageSample, donor: ImageSample | None, settings: LesionSettings
) -> Bool[Tensor, "height width"]:
    return _paste(sample, donor, settings).mask


def _empty_mask(sample: ImageSample) -> Bool[Tensor, "height width"]:
    return torch.zeros(sample.load().shape[1:], dtype=torch.bool)


def _draw_kind(name: str, settings: LesionSettings) -> LesionKind:
    return settings.kinds[int(_generator(settings.seed, name, "kind").integers(len(settings.kinds)))]


def _generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return a source of randomness that does not depend on other images."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{name}".encode(errors="surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
