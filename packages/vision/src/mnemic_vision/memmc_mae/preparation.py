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
    pixels = pixels.float()
    if channels < pixels.shape[0]:
        luma = torch.tensor(_LUMA, device=pixels.device)
        pixels = torch.einsum("chw,c->hw", pixels, luma)[None]
    square = F.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
    return square.clamp(0, 1).expand(channels, -1, -1).contiguous()
