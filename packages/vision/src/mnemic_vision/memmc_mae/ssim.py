"""Structural similarity of images, at one scale and at several (Wang et al., 2003 and 2004)."""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.blur import blur

SIGMA = 1.5
"""Deviation of the Gaussian window in pixels."""
_C1, _C2 = 0.01**2, 0.03**2  # stabilize the ratios of images in [0, 1]
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, the finest first
_SMALLEST_FACTOR = 1e-6  # a negative mean contrast would make the weighted product NaN


@dataclass(frozen=True)
class Scales:
    """Scales at which images of one size are compared; each is the one before averaged over 2 x 2 pixels.

    Attributes:
        window: side of the Gaussian window in pixels.
        weights: exponents of the scales, the finest first; their sum is 1.
    """

    window: int
    weights: tuple[float, ...]


class SimilarityMaps(NamedTuple):
    """Similarity of two images at every pixel.

    Attributes:
        ssim: structural similarity, at most 1, which equal images have.
        contrast: its factor without the luminance: contrast and structure.
    """

    ssim: Float[Tensor, "*batch channel height width"]
    contrast: Float[Tensor, "*batch channel height width"]


def scales_for(side: int) -> Scales:
    """Return the scales for images with this shorter side in pixels.

    From 176 pixels on, these are the usual window of 11 and five scales, whose coarsest just holds the window. Smaller
    images have fewer, with the weights renormalized, and those below 88 pixels a window of 7 and three at most.

    Raises:
        UserError: for images smaller than a window.

    Example:
        >>> [(scales.window, len(scales.weights)) for scales in map(scales_for, (64, 128, 224))]
        [(7, 3), (11, 4), (11, 5)]
    """
    window, most = (11, len(_WEIGHTS)) if side >= 88 else (7, 3)
    if side < window:
        raise UserError(f"structural similarity needs images of at least {window} x {window} pixels, got side {side}")
    count = sum(side >> scale >= window for scale in range(most))
    total = sum(_WEIGHTS[:count])
    return Scales(window, tuple(weight / total for weight in _WEIGHTS[:count]))


def similarity_maps(
    image: Float[Tensor, "*#batch channel height width"],
    other: Float[Tensor, "*#batch channel height width"],
    window: int = 11,
) -> SimilarityMaps:
    """Compare images in [0, 1] at one scale, with reflected borders.

    Leading axes broadcast, so that ``[batch 1 ...]`` is compared with ``[batch draw ...]``; what depends on the first
    alone is computed once. The covariance comes from that of the difference of the images, so that equal images have
    similarity 1 exactly and rounding counts least where they are nearly equal.

    Args:
        image: in float32 or float64.
        other: likewise.
        window: side of the Gaussian window, odd.
    """
    radius, difference = window // 2, image - other
    with torch.autocast(image.device.type, enabled=False):  # variances are differences: bfloat16 leaves none of them
        mean, mean_difference = blur(image, radius, SIGMA), blur(difference, radius, SIGMA)
        squares, other_squares = blur(image.square(), radius, SIGMA), blur(other.square(), radius, SIGMA)
        squared_difference = blur(difference.square(), radius, SIGMA)
    other_mean, squared_mean_difference = mean - mean_difference, mean_difference.square()
    # The constants are added to what depends on the first image alone.
    squared_means = torch.addcmul(mean.square() + _C1, other_mean, other_mean)
    variances = other_squares - squared_means + (squares + (_C1 + _C2))
    contrast = 1 - (squared_difference - squared_mean_difference) / variances
    return SimilarityMaps(contrast - contrast * squared_mean_difference / squared_means, contrast)


def multi_scale_maps(
    image: Float[Tensor, "*#batch channel height width"],
    other: Float[Tensor, "*#batch channel height width"],
) -> list[SimilarityMaps]:
    """Return the maps of every scale of :func:`scales_for`, the finest first; see :func:`similarity_maps`."""
    scales = scales_for(min(image.shape[-2:]))
    maps = [similarity_maps(image, other, scales.window)]
    for _ in scales.weights[1:]:
        image, other = _halve(image), _halve(other)
        maps.append(similarity_maps(image, other, scales.window))
    return maps


def multi_scale_ssim(maps: list[SimilarityMaps]) -> Float[Tensor, "*batch"]:
    """Return the multi-scale structural similarity, 0 to 1, from the maps of all scales.

    It is the product of the mean contrasts of the scales, of the coarsest the mean similarity, each to the power of its
    weight. Means are over channels and those pixels whose window lies in the image.

    Example:
        >>> image = torch.rand(2, 1, 64, 64)
        >>> multi_scale_ssim(multi_scale_maps(image, image)).tolist()
        [1.0, 1.0]
    """
    scales = scales_for(min(maps[0].ssim.shape[-2:]))
    chosen = [each.contrast for each in maps[:-1]] + [maps[-1].ssim]
    factors = [valid_mean(each, scales.window).clamp(min=_SMALLEST_FACTOR) for each in chosen]
    return prod(
        (factor**weight for factor, weight in zip(factors[1:], scales.weights[1:], strict=True)),
        start=factors[0] ** scales.weights[0],
    )


def valid_mean(similarity: Float[Tensor, "*batch channel height width"], window: int) -> Float[Tensor, "*batch"]:
    """Return the mean over channels and the pixels whose window lies in the image."""
    radius = window // 2
    return similarity[..., radius:-radius, radius:-radius].mean((-3, -2, -1))


def _halve(images: Float[Tensor, "*batch channel height width"]) -> Float[Tensor, "*batch channel _ _"]:
    halved: Tensor = F.avg_pool2d(images.flatten(0, -3), 2).unflatten(0, images.shape[:-2])
    return halved
