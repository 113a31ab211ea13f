"""Pictures of results: the image, its reconstruction, and the anomaly map over it."""

import base64
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mnemic_anomaly.scoring import ScoredPicture

SIDE = 512  # longest side of a shown image, pixels
_THUMBNAIL = 160
_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLORS = (
    (0, 0, 4),
    (87, 16, 110),
    (188, 55, 84),
    (249, 142, 9),
    (252, 255, 164),
)  # dark to light, also when printed grey
_CONTOUR = (86, 180, 233)
_MOST = 0.75  # opacity of the map where it is largest


def draw_result(scored: ScoredPicture) -> Image.Image:
    """Return image, reconstruction (of pixels) and map with the contour of the mask, side by side."""
    shown = as_shown(scored.picture.pixels, SIDE)
    panels = [shown, overlay(scored, SIDE)]
    if scored.found.reconstruction is not None:
        panels.insert(1, as_bytes(_resize(scored.found.reconstruction, shown.shape[:2])[0]))
    return Image.fromarray(np.concatenate(panels, axis=1))


def thumbnail(scored: ScoredPicture) -> str:
    """Return the map over the image as a data address, which a page holds without another file."""
    with BytesIO() as file:
        Image.fromarray(overlay(scored, _THUMBNAIL)).save(file, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def overlay(scored: ScoredPicture, side: int) -> UInt8[np.ndarray, "height width 3"]:
    """Return the anomaly map over an image, and the contour of what is at or above the threshold."""
    shown = as_shown(scored.picture.pixels, side).astype(np.float32)
    size = (shown.shape[0], shown.shape[1])
    maps = scored.found.scaled_map
    if maps is None:  # without thresholds: from its least to its largest value
        low, high = scored.found.map.aminmax()
        maps = (scored.found.map - low) / (high - low).clamp(min=1e-12)
    level = _resize(maps[:, None], size)[0, 0].clamp(0, 1).numpy()
    color = np.stack([np.interp(level, _STOPS, channel) for channel in zip(*_COLORS, strict=True)], axis=-1)
    opacity = (_MOST * level)[..., None]
    blended = shown * (1 - opacity) + color * opacity
    if scored.found.mask is not None:
        blended[_contour(_resize(maps[:, None], size)[0, 0] >= 0.5)] = _CONTOUR
    return blended.round().clip(0, 255).astype(np.uint8)


def as_shown(pixels: Float[Tensor, "channel height width"], side: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return an image in color with the given longest side."""
    height, width = pixels.shape[1:]
    factor = side / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return as_bytes(_resize(pixels[None], size)[0])


def as_bytes(image: Float[Tensor, "channel height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image in [0, 1] as RGB bytes; grey is repeated."""
    values: np.ndarray = (image.expand(3, -1, -1).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return values


def _resize(images: Float[Tensor, "_ channel _ _"], size: tuple[int, int]) -> Float[Tensor, "_ channel height width"]:
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)


def _contour(mask: Bool[Tensor, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Return the outermost anomalous pixels."""
    inside = -F.max_pool2d(-mask[None, None].float(), 3, stride=1, padding=1)
    contour: np.ndarray = (mask & (inside[0, 0] < 0.5)).numpy()
    return contour
