"""Gaussian means of images with reflected borders, as two products with banded matrices."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from mnemic_core.errors import UserError


@lru_cache(maxsize=64)  # at most a few sides and windows are in use; 0.4 MB at side 224
def blur_matrix(side: int, radius: int, sigma: float) -> Float64[np.ndarray, "side side"]:
    """Return the matrix that averages a row of pixels with Gaussian weights; the border reflects without its pixel.

    Args:
        side: number of pixels.
        radius: of the window, which has ``2 radius + 1`` weights; below ``side``.
        sigma: of the Gaussian in pixels, above 0.

    Raises:
        UserError: if the window reaches beyond the reflected pixels.

    Example:
        >>> blur_matrix(3, 1, 1.0).round(2).tolist()
        [[0.45, 0.55, 0.0], [0.27, 0.45, 0.27], [0.0, 0.55, 0.45]]
    """
    if radius >= side:
        raise UserError(f"a window of radius {radius} needs images of at least {radius + 1} pixels, got {side}")
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    rows = np.arange(side)[:, None]
    columns = np.abs(rows + offsets)
    columns = np.minimum(columns, 2 * (side - 1) - columns)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (rows, columns), weights / weights.sum())
    return matrix


def blur(
    images: Float[Tensor, "*batch height width"], radius: int, sigma: float
) -> Float[Tensor, "*batch height width"]:
    """Return Gaussian means of the same size.

    A product with a matrix does more arithmetic than a separable convolution (``2 side`` instead of ``4 radius + 2``
    multiplications for each pixel) but is fast on every device: on a CPU core 3 times as fast as the best form of the
    convolution at 64 pixels and 1.6 times at 112, but 0.6 times at 224. It exports for any batch.
    """
    height, width = images.shape[-2:]
    rows, columns = (
        torch.tensor(blur_matrix(side, radius, sigma), dtype=images.dtype, device=images.device)
        for side in (height, width)
    )
    blurred: Tensor = rows @ (images @ columns.mT)
    return blurred
