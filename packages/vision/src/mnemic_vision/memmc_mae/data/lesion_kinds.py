"""What lesions look like: for each kind, the image as if it were lesion everywhere."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from mnemic_vision.memmc_mae.data.seamless import fit_border

LesionKind: TypeAlias = Literal["bright", "dark", "blur", "noise", "foreign"]
Channels: TypeAlias = Float[np.ndarray, "channel height width"]
Inside: TypeAlias = Bool[np.ndarray, "height width"]
Opacity: TypeAlias = Float[np.ndarray, "height width"]

MOTTLE = 0.15  # of an opacity's strength: real ones are not even
PIECES = 4
BLUR = 0.025  # of the side, standard deviation


def _bright(
    image: Channels, foreign: Channels, opacity: Opacity, contrast: float, generator: np.random.Generator
) -> Channels:
    mottled: Channels = image + contrast * (1 + MOTTLE * _smooth_noise(opacity.shape, 0.03, generator))
    return mottled


def _dark(
    image: Channels, foreign: Channels, opacity: Opacity, contrast: float, generator: np.random.Generator
) -> Channels:
    mottled: Channels = image - contrast * (1 + MOTTLE * _smooth_noise(opacity.shape, 0.03, generator))
    return mottled


def _blur(
    image: Channels, foreign: Channels, opacity: Opacity, contrast: float, generator: np.random.Generator
) -> Channels:
    sigma = BLUR * opacity.size**0.5
    margin = int(3 * sigma) + 1
    window = tuple(
        slice(max(0, found[0] - margin), found[-1] + margin + 1)
        for found in (np.flatnonzero(opacity.any(axis)) for axis in (1, 0))
    )
    blurred = image.copy()  # only where it shows: the filter is slow on large images
    blurred[:, *window] = ndimage.gaussian_filter(image[:, *window], (0, sigma, sigma), truncate=3)
    return blurred


def _noise(
    image: Channels, foreign: Channels, opacity: Opacity, contrast: float, generator: np.random.Generator
) -> Channels:
    grain: Channels = image + contrast * _smooth_noise(opacity.shape, generator.uniform(0.006, 0.015), generator)
    return grain


def _foreign(
    image: Channels, foreign: Channels, opacity: Opacity, contrast: float, generator: np.random.Generator
) -> Channels:
    piece = foreign if generator.random() < 0.5 else foreign[:, :, ::-1]
    inside = opacity > 0
    moved = (_move(piece, inside, generator) for _ in range(PIECES))
    # Of several pieces the most detailed one: flat pieces vanish when their border is fitted.
    return fit_border(max(moved, key=lambda other: other[:, inside].std(axis=1).mean()), image, inside)


Painter: TypeAlias = Callable[[Channels, Channels, Opacity, float, np.random.Generator], Channels]
PAINTERS: dict[LesionKind, Painter] = {
    "bright": _bright,
    "dark": _dark,
    "blur": _blur,
    "noise": _noise,
    "foreign": _foreign,
}


def _move(piece: Channels, inside: Inside, generator: np.random.Generator) -> Channels:
    """Return an image moved by a random way on which all that lies inside comes from within it."""
    moves = []
    for axis, side in enumerate(inside.shape):
        found = np.flatnonzero(inside.any(1 - axis))
        # A pixel comes from the place before it by the move, which lies between 0 and side - 1.
        moves.append(int(generator.integers(found[-1] - side + 1, found[0] + 1)))
    return np.roll(piece, moves, axis=(1, 2))


def _smooth_noise(shape: tuple[int, ...], scale: float, generator: np.random.Generator) -> Opacity:
    """Return noise of variance 1 whose grains have a size relative to the side."""
    noise = ndimage.gaussian_filter(generator.normal(size=shape), scale * (shape[0] * shape[1]) ** 0.5, mode="wrap")
    scaled: Opacity = noise / noise.std()
    return scaled


def match(image: Float[np.ndarray, "_ _ _"], shape: tuple[int, ...]) -> Channels:
    """Return an image with the channels and the size of another one."""
    image = image.mean(0, keepdims=True) if shape[0] == 1 else np.broadcast_to(image, (shape[0], *image.shape[1:]))
    factors = (1, shape[1] / image.shape[1], shape[2] / image.shape[2])
    matched: Channels = ndimage.zoom(image, factors, order=1, grid_mode=True, mode="nearest")
    return matched
