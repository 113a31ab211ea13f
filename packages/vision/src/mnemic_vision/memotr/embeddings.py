"""Sine embeddings of image cells and boxes, and the logit that box refinement uses."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

IMAGE_TEMPERATURE = 20.0  # as DAB-DETR; DETR itself has 10000
BOX_TEMPERATURE = 10000.0


def logit(probability: Float[Tensor, "*shape"], eps: float = 1e-5) -> Float[Tensor, "*shape"]:
    """Return the inverse of the sigmoid, within about +-11.5 because both probabilities are clamped at ``eps``."""
    probability = probability.clamp(0, 1)
    return torch.log(probability.clamp(min=eps) / (1 - probability).clamp(min=eps))


def _sine(positions: Float[Tensor, "*shape"], size: int, temperature: float) -> Float[Tensor, "*shape size"]:
    """Embed angles: feature i has frequency ``temperature ** -(2 * (i // 2) / size)``, even ones sin, odd ones cos."""
    exponent = 2 * (torch.arange(size, device=positions.device) // 2) / size
    angles = positions[..., None] / temperature**exponent
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)  # interleaved


def sine_image(padding: Bool[Tensor, "batch height width"], dim: int) -> Float[Tensor, "batch dim height width"]:
    """Embed each cell's position in the image without padding, with y in the first half of ``dim`` channels."""
    valid = (~padding).float()
    features = []
    for axis in (1, 2):
        index = valid.cumsum(axis)
        last = index.select(axis, -1).unsqueeze(axis)
        features.append(_sine((index - 0.5) / (last + 1e-6) * 2 * math.pi, dim // 2, IMAGE_TEMPERATURE))
    return torch.cat(features, dim=-1).permute(0, 3, 1, 2)  # batch channel height width


def sine_boxes(boxes_cxcywh: Float[Tensor, "*shape 4"], dim: int) -> Float[Tensor, "*shape {2*dim}"]:
    """Embed normalized boxes with ``dim / 2`` features per coordinate, in the order x, y, width, height."""
    return _sine(boxes_cxcywh.float() * (2 * math.pi), dim // 2, BOX_TEMPERATURE).flatten(-2)
