"""Preprocessing of images for the network: resize, normalize, pad."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.classifier_weights import IMAGENET_MEAN, IMAGENET_STD
from mnemic_core.errors import UserError

SIZE_MULTIPLE = 32  # padded sides are multiples of the coarsest stride

_COEFFICIENT_ONE = 2048  # OpenCV stores interpolation weights as integers with 11 fractional bits


def as_image(frame: np.ndarray | Tensor, least_side: int = 1) -> UInt8[Tensor, "3 height width"]:
    """Return a frame as RGB bytes.

    Args:
        frame: RGB image, a uint8 array (height, width, 3) or a tensor (3, height, width), uint8 or float in [0, 1].
        least_side: shortest side in pixels; a smaller frame is taken for a mistake.

    Raises:
        UserError: if it is not such an image, is smaller, or contains NaN or infinity.
    """
    channels = -1 if isinstance(frame, np.ndarray) else 0
    if frame.ndim != 3 or frame.shape[channels] != 3:
        raise UserError(
            f"expected an RGB frame, array (height, width, 3) or tensor (3, height, width), got {tuple(frame.shape)}"
        )
    tensor = torch.from_numpy(np.array(frame)).permute(2, 0, 1) if isinstance(frame, np.ndarray) else frame
    height, width = tensor.shape[1:]
    if min(height, width) < least_side:
        raise UserError(f"a frame of {width}x{height} pixels is too small: need {least_side} at least")
    if tensor.is_floating_point():
        if not tensor.isfinite().all():
            raise UserError("the frame contains NaN or infinite pixels: decode it again or leave it out")
        tensor = (tensor.clamp(0, 1) * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise UserError(f"expected uint8 or floating point pixels, got {tensor.dtype}")
    return tensor


def inference_size(size: tuple[int, int], short: int = 800, long: int = 1536) -> tuple[int, int]:
    """Return the (height, width) to which an image of (height, width) is resized for the network.

    The shorter side becomes ``short`` unless the longer one would exceed ``long``.
    """
    scale = short / min(size)
    if max(size) * scale > long:
        scale = long / max(size)
    # Truncated, not rounded, as in the official code.
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def resize_bilinear(
    image: UInt8[Tensor, "channel height width"], size: tuple[int, int]
) -> UInt8[Tensor, "channel _ _"]:
    """Resize to (height, width) exactly as OpenCV's ``INTER_LINEAR`` does on 8-bit images.

    Released weights were trained with this arithmetic: no anti-aliasing, weights of 11 bits, and two truncations
    instead of rounding. ``torch.nn.functional.interpolate`` differs by one in every eighth value.
    """
    if tuple(image.shape[1:]) == size:
        return image
    pixels = image.to(torch.int32)  # products of 8 and 11 bits, twice, need 30
    top, bottom, upper, lower = _neighbors(image.shape[1], size[0], image.device)
    left, right, nearer, farther = _neighbors(image.shape[2], size[1], image.device)
    rows = (pixels[:, :, left] * nearer + pixels[:, :, right] * farther) >> 4
    blended = ((rows[:, top] * upper[:, None]) >> 16) + ((rows[:, bottom] * lower[:, None]) >> 16)
    return ((blended + 2) >> 2).to(torch.uint8)


def _neighbors(length: int, new_length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the two source positions of each new position and their integer weights."""
    centers = torch.arange(new_length, dtype=torch.float64, device=device) + 0.5
    position = (centers * (length / new_length) - 0.5).to(torch.float32).clamp(0, length - 1)
    first = position.floor().long()
    fraction = position - first
    second = (first + 1).clamp(max=length - 1)
    weights = [(part * _COEFFICIENT_ONE).round().to(torch.int32) for part in (1 - fraction, fraction)]
    return first, second, weights[0], weights[1]


def normalize(
    image: UInt8[Tensor, "*frame 3 height width"],
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Float[Tensor, "*frame 3 height width"]:
    """Return RGB bytes normalized by mean and standard deviation of each channel, those of ImageNet unless given."""
    center, deviation = (torch.tensor(values, device=image.device)[:, None, None] for values in (mean, std))
    return (image / 255 - center) / deviation


def center_square(
    image: UInt8[Tensor, "3 height width"], size: int, share: float = 224 / 256
) -> UInt8[Tensor, "3 size size"]:
    """Return the square in the middle of an image, resized with anti-aliasing.

    Classifiers are evaluated so: resized to a short side of 256 pixels, then cropped to 224. Cropping first gives the
    same picture up to its border, and costs nothing for the rest of a large or very wide image.

    Args:
        image: RGB bytes.
        size: side of the result, pixels.
        share: side of the square relative to the shorter side of the image.
    """
    height, width = image.shape[1:]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    square = image[None, :, top : top + side, left : left + side]
    return F.interpolate(square, (size, size), mode="bilinear", antialias=True)[0]


def preprocess_frame(
    image: UInt8[Tensor, "3 height width"], short: int = 800, long: int = 1536
) -> Float[Tensor, "3 _ _"]:
    """Return RGB bytes resized to `inference_size` and normalized."""
    size = inference_size((image.shape[1], image.shape[2]), short, long)
    return normalize(resize_bilinear(image, size))


def pad_images(
    images: Sequence[Float[Tensor, "3 _ _"]], smallest_side: int = 1
) -> tuple[Float[Tensor, "batch 3 height width"], Bool[Tensor, "batch height width"]]:
    """Return images of different sizes in one batch, and its padding mask (True = padding).

    Zeros are added at the right and at the bottom up to the maximum height and width, or to ``smallest_side``, rounded
    up to multiples of 32.
    """
    height, width = (
        ceil(max(smallest_side, *(image.shape[axis] for image in images)) / SIZE_MULTIPLE) * SIZE_MULTIPLE
        for axis in (1, 2)
    )
    padded = [F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
    padding = torch.ones(len(images), height, width, dtype=torch.bool, device=images[0].device)
    for row, image in zip(padding, images, strict=True):
        row[: image.shape[1], : image.shape[2]] = False
    return torch.stack(padded), padding
