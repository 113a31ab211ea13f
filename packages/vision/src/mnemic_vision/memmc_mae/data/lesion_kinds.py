"""What lesions look like: for each kind, a part of an image as if it were lesion everywhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from mnemic_vision.memmc_mae.data.seamless import fit_border

LesionKind: TypeAlias = Literal["bright", "dark", "blur", "noise", "foreign"]
Channels: TypeAlias = Float[np.ndarray, "channel height width"]
Plane: TypeAlias = Float[np.ndarray, "height width"]

# Sizes are relative to the side of the image, the square root of its number of pixels.
MOTTLE, MOTTLE_SIZE = 0.15, 0.03  # of an opacity's strength: real ones are not even
BLUR = 0.025  # standard deviation of the Gaussian window
GRAIN = 0.0045  # standard deviation: finer detail is mostly the noise of a sensor
NOISE_SIZE = (0.006, 0.015)
PIECES = 4


@dataclass(frozen=True)
class Canvas:
    """Where a lesion is painted.

    Attributes:
        image: the part of the image around the lesion.
        opacity: of the lesion, 0 at the border of the part.
        donor: another image of any size, with as many channels.
        scale: size of the donor, relative to the size of the image: height and width.
        side: of the image, pixels.
        contrast: typical change that is wanted, of the full range.
    """

    image: Channels
    opacity: Plane
    donor: Float[np.ndarray, "channel donor_height donor_width"]
    scale: tuple[float, float]
    side: float
    contrast: float

    def smooth_noise(self, size: float, generator: np.random.Generator) -> Plane:
        """Return noise of variance 1 with grains of a size."""
        noise = ndimage.gaussian_filter(generator.normal(size=self.opacity.shape), size * self.side, mode="wrap")
        scaled: Plane = noise / max(noise.std(), 1e-9)
        return scaled

    def blurred(self, size: float) -> Channels:
        """Return the image without detail finer than a size."""
        blurred: Channels = ndimage.gaussian_filter(self.image, (0, size * self.side, size * self.side), truncate=3)
        return blurred

    def piece(self, generator: np.random.Generator) -> Channels:
        """Return a random part of the donor, scaled as the donor would be to the size of the image."""
        shape = self.opacity.shape
        sides = [
            min(whole, max(2, round(side * scale)))
            for whole, side, scale in zip(self.donor.shape[1:], shape, self.scale, strict=True)
        ]
        top, left = (
            int(generator.integers(whole - side + 1)) for whole, side in zip(self.donor.shape[1:], sides, strict=True)
        )
        part = self.donor[:, top : top + sides[0], left : left + sides[1]]
        part = part if generator.random() < 0.5 else part[:, :, ::-1]
        piece: Channels = ndimage.zoom(
            part, (1, shape[0] / sides[0], shape[1] / sides[1]), order=1, grid_mode=True, mode="nearest"
        )
        return piece


def _bright(canvas: Canvas, generator: np.random.Generator) -> Channels:
    mottle = 1 + MOTTLE * canvas.smooth_noise(MOTTLE_SIZE, generator)
    return canvas.image + canvas.contrast * mottle


def _dark(canvas: Canvas, generator: np.random.Generator) -> Channels:
    mottle = 1 + MOTTLE * canvas.smooth_noise(MOTTLE_SIZE, generator)
    return canvas.image - canvas.contrast * mottle


def _blur(canvas: Canvas, generator: np.random.Generator) -> Channels:
    """Blur, and add as much grain as there was: without it, the missing noise of the sensor alone would tell."""
    fine = canvas.image - canvas.blurred(GRAIN)
    white = replace(canvas, image=generator.normal(size=fine.shape))
    grain = white.image - white.blurred(GRAIN)
    # The median, since edges are fine detail too. Images of a few dozen pixels have no detail that fine.
    strength = np.median(np.abs(fine)) / max(np.median(np.abs(grain)), 1e-9)
    blurred: Channels = canvas.blurred(BLUR) + grain * strength
    return blurred


def _noise(canvas: Canvas, generator: np.random.Generator) -> Channels:
    return canvas.image + canvas.contrast * canvas.smooth_noise(generator.uniform(*NOISE_SIZE), generator)


def _foreign(canvas: Canvas, generator: np.random.Generator) -> Channels:
    inside = canvas.opacity > 0
    pieces = (canvas.piece(generator) for _ in range(PIECES))
    # The most detailed one: flat pieces vanish when their border is fitted.
    best = max(pieces, key=lambda piece: piece[:, inside].std(axis=1).mean())
    return fit_border(best, canvas.image, inside)


PAINTERS: dict[LesionKind, Callable[[Canvas, np.random.Generator], Channels]] = {
    "bright": _bright,
    "dark": _dark,
    "blur": _blur,
    "noise": _noise,
    "foreign": _foreign,
}


def with_channels(image: Float[np.ndarray, "_ height width"], channels: int) -> Channels:
    """Return a grey or RGB image with 1 or 3 channels."""
    if channels == 1:
        grey: Channels = image.mean(0, keepdims=True)
        return grey
    return np.broadcast_to(image, (channels, *image.shape[1:]))
