"""From a picture of any size to the square that the network sees."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError

_LUMA = (0.299, 0.587, 0.114)  # BT.601, as Pillow converts RGB to grey


def prepare(
    pixels: Float[Tensor, "channel height width"], size: int, channels: int
) -> Float[Tensor, "channels size size"]:
    """Return a picture as a float32 square, stretched with anti-aliasing.

    Args:
        pixels: values in [0, 1], grey or RGB.
        size: side of the result, pixels.
        channels: 1 for grey, the luma of RGB; 3 for RGB, grey repeated.

    Raises:
        UserError: the picture is neither grey nor RGB, or has NaN or values outside of [0, 1].
    """
    if pixels.shape[0] not in {1, 3}:
        raise UserError(f"a picture is grey or RGB, with 1 or 3 channels, got {pixels.shape[0]}")
    if not ((pixels >= 0) & (pixels <= 1)).all():  # also False for NaN
        raise UserError("the values of a picture must be in [0, 1]; divide bytes by 255")
    return to_square(pixels.float()[None], size, channels)[0].contiguous()


def to_square(
    pictures: Float[Tensor, "batch channel height width"], size: int, channels: int
) -> Float[Tensor, "batch channels size size"]:
    """Do what `prepare` does for pictures of one size, without looking at their values, so that it can be traced."""
    if channels < pictures.shape[1]:
        luma = torch.tensor(_LUMA, device=pictures.device)
        pictures = torch.einsum("bchw,c->bhw", pictures, luma)[:, None]
    square = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    return square.clamp(0, 1).expand(-1, channels, -1, -1)
