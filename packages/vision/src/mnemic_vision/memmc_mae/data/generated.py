"""Generated textures with defects, for tests and trials that need no data."""

from dataclasses import dataclass, replace
from functools import partial
from math import inf, pi
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_vision.memmc_mae.data.blob import draw_blob
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, ImageSample, Split
from mnemic_vision.memmc_mae.data.writing import write_mvtec

Defect = Literal["grating", "brightness", "blur"]
DEFECTS: tuple[Defect, ...] = get_args(Defect)

NUM_GRATINGS = 8
MIXED_GRATINGS = 3  # of them in one image
_GRATINGS_SEED = 2203  # the same gratings in all sets: what is normal does not depend on the seed
SHARE = (0.01, 0.08)  # area of a defect, as a share of the image
SHIFT = (0.2, 0.35)  # of brightness
NOISE = 0.02  # standard deviation

Image = Float[np.ndarray, "height width"]


@dataclass(frozen=True)
class GeneratedTextures:
    """A data set of grey textures; the same numbers give the same images.

    A normal image is a sum of three of eight fixed gratings with random phases and contrasts, and mild noise. An
    anomalous one has an ellipse of 1-8 % of the area in which the texture is a grating of another kind, brighter or
    darker, or blurred. Nothing else differs.

    Attributes:
        num_train: normal images for training.
        num_val: images for validation, half of them anomalous.
        num_test: images for testing, half of them anomalous.
        size: side, pixels.
        seed: another one gives other images of the same kind.

    Example:
        >>> samples = GeneratedTextures(num_train=2, num_val=0, num_test=2).open()
        >>> [(sample.name, sample.label) for sample in samples]
        [('train/good/000.png', 0), ('train/good/001.png', 0), ('test/good/000.png', 0), ('test/grating/001.png', 1)]
        >>> samples[-1].load().shape, int(samples[0].load_mask().sum())
        (torch.Size([1, 64, 64]), 0)
    """

    num_train: int = 256
    num_val: int = 64
    num_test: int = 128
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0, inf, "num_train", "num_val", "num_test", "seed")
        check_range(self, 16, 8192, "size")

    def open(self) -> list[ImageSample]:
        """Return the images; their pixels are made when they are needed."""
        counts: tuple[tuple[Split, int], ...] = (
            ("train", self.num_train),
            ("val", self.num_val),
            ("test", self.num_test),
        )
        return [self._sample(split, index) for split, count in counts for index in range(count)]

    def write(self, folder: str | Path) -> None:
        """Write the images as an MVTec tree: ``train/good``, ``test/DEFECT``, ``ground_truth/DEFECT/NAME_mask.png``.

        Raises:
            UserError: the folder exists.
        """
        write_mvtec(self.open(), folder)

    def _sample(self, split: Split, index: int) -> ImageSample:
        defect = None if split == "train" or index % 2 == 0 else DEFECTS[index // 2 % len(DEFECTS)]
        key = (self.seed, ("train", "val", "test").index(split), index)
        return ImageSample(
            name=f"{split}/{defect or 'good'}/{index:03d}.png",
            split=split,
            label=ANOMALOUS if defect else NORMAL,
            group=defect or "",
            path=None,
            mask_path=None,
            load=partial(_load, self.size, key, defect),
            load_mask=partial(_load_mask, self.size, key, defect),
        )


def _load(size: int, key: tuple[int, ...], defect: Defect | None) -> Float[Tensor, "1 size size"]:
    generator = np.random.default_rng((*key, 0))
    texture = _texture(generator, size)
    if defect:
        inside = _load_mask(size, key, defect).numpy()
        texture = np.where(inside, _defective(texture, defect, np.random.default_rng((*key, 2))), texture)
    noisy = texture + generator.normal(0, NOISE, texture.shape)
    return torch.from_numpy(noisy.clip(0, 1).astype(np.float32))[None]


def _load_mask(size: int, key: tuple[int, ...], defect: Defect | None) -> Bool[Tensor, "size size"]:
    if not defect:
        return torch.zeros(size, size, dtype=torch.bool)
    generator = np.random.default_rng((*key, 1))
    blob = draw_blob(generator, SHARE)
    # The longest half axis stays inside, so that the area is what was drawn.
    margin = (blob.share * max(blob.aspect, 1 / blob.aspect) / pi) ** 0.5
    row, column = generator.uniform(margin, 1 - margin, 2)
    return torch.from_numpy(replace(blob, center=(row, column)).radii(size, size) <= 1)


def _texture(generator: np.random.Generator, size: int) -> Image:
    """Return a sum of three gratings around grey."""
    fixed = np.random.default_rng(_GRATINGS_SEED)
    cycles = fixed.uniform(2, 6, NUM_GRATINGS)  # per image: the same picture at any size
    angles = pi * (np.arange(NUM_GRATINGS) + fixed.uniform(0, 0.8, NUM_GRATINGS)) / NUM_GRATINGS
    chosen = generator.choice(NUM_GRATINGS, MIXED_GRATINGS, replace=False)
    waves = [_grating(size, cycles[i], angles[i], generator.uniform(0, 2 * pi)) for i in chosen]
    contrasts = generator.uniform(0.06, 0.14, MIXED_GRATINGS)
    texture: Image = 0.5 + sum(contrast * wave for contrast, wave in zip(contrasts, waves, strict=True))
    return texture


def _grating(size: int, cycles: float, angle: float, phase: float) -> Image:
    place = (np.arange(size) + 0.5) / size
    along = place[None] * np.cos(angle) + place[:, None] * np.sin(angle)
    wave: Image = np.sin(2 * pi * cycles * along + phase)
    return wave


def _defective(texture: Image, defect: Defect, generator: np.random.Generator) -> Image:
    """Return the whole texture with a defect, of which the part inside of the mask is used."""
    size = len(texture)
    if defect == "grating":
        wave = _grating(size, generator.uniform(9, 12), generator.uniform(0, pi), generator.uniform(0, 2 * pi))
        return 0.5 + generator.uniform(0.15, 0.25) * wave
    if defect == "brightness":
        shift: float = generator.uniform(*SHIFT) * generator.choice([-1, 1])
        return texture + shift
    blurred: Image = ndimage.gaussian_filter(texture, size / 10, mode="wrap")
    return blurred
