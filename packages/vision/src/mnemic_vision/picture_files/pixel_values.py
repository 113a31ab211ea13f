"""How stored pixel values become [0, 1], see decision 20."""

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from mnemic_core.errors import UserError

_DEPTHS = (8, 10, 12, 14, 16, 24, 32, 64)  # bits of sensors and containers
_FLIPPED_UP_DOWN, _FLIPPED_LEFT_RIGHT = {3, 4, 7, 8}, {2, 3, 6, 7}  # after transposing those from 5 on


def unit_values(values: Shaped[np.ndarray, "height width channel"]) -> Float32[np.ndarray, "height width channel"]:
    """Return values of a file without a declared range in [0, 1].

    Bytes are divided by 255. Wider integers without negative values are divided by the greatest value of their depth,
    the first of 8, 10, 12, 14, 16, 24, 32 and 64 bits that holds them all, since cameras store 12 bits in 16. Floats
    within [0, 1] stay. Other floats, and integers with negative values, are stretched: least to 0, greatest to 1.

    Raises:
        UserError: NaN or infinity, or numbers that are complex.
    """
    if values.dtype == bool or values.dtype == np.uint8:
        return _divided(values, 1 if values.dtype == bool else 255)
    if values.dtype.kind not in "iuf":
        raise UserError(f"pixels of the kind {values.dtype} cannot be shown; save the picture as integers or floats")
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0:
        depth = next(depth for depth in _DEPTHS if int(high) < 2**depth)
        return _divided(values, 2**depth - 1)
    if not np.isfinite([low, high]).all():
        raise UserError("the pixels contain NaN or infinity: replace them, or save the picture again")
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values.astype(np.float32)
    return stretched(values, float(low), float(high))


def _divided(
    values: Shaped[np.ndarray, "height width channel"], greatest: int
) -> Float32[np.ndarray, "height width channel"]:
    height, width, channels = values.shape
    # In the layout of the tensor, since a large picture should not be in memory twice.
    quotient = np.empty((channels, height, width), np.float32).transpose(1, 2, 0)
    np.divide(values, np.float32(greatest), out=quotient)
    return quotient


def stretched(values: Shaped[np.ndarray, "*axes"], low: float, high: float) -> Float32[np.ndarray, "*axes"]:
    """Return values with ``low`` as 0 and ``high`` as 1, clipped there; all 0 if the two are equal."""
    if high <= low:
        return np.zeros(values.shape, np.float32)
    # The difference of large 32-bit numbers is exact in float64 only.
    wide = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    return np.asarray((np.subtract(wide, low) / (high - low)).clip(0, 1), dtype=np.float32)


def over_white(
    color: Float32[np.ndarray, "height width channel"],
    alpha: Float32[np.ndarray, "height width 1"],
    is_premultiplied: bool = False,
) -> Float32[np.ndarray, "height width channel"]:
    """Return what a transparent picture looks like on white paper; ``alpha`` is 0 where it is transparent."""
    return np.asarray(((color if is_premultiplied else color * alpha) + (1 - alpha)).clip(0, 1))


def upright(
    values: Shaped[np.ndarray, "height width channel"], orientation: int
) -> Shaped[np.ndarray, "upright_height upright_width channel"]:
    """Turn a picture as its EXIF or TIFF orientation (1 to 8) says; other numbers mean nothing."""
    if orientation in {5, 6, 7, 8}:
        values = values.swapaxes(0, 1)
    if orientation in _FLIPPED_UP_DOWN:
        values = values[::-1]
    return values[:, ::-1] if orientation in _FLIPPED_LEFT_RIGHT else values


def as_tensor(values: Float32[np.ndarray, "height width channel"]) -> Float32[Tensor, "channel height width"]:
    """Return an array in [0, 1] as a tensor with the channel in front."""
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
