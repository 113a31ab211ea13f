"""Box conversions and overlaps. ``cxcywh`` is center and size, ``xyxy`` two corners, ``xywh`` top left and size."""

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_vision.late_compiler import late_compiler

with late_compiler():
    from torchvision.ops import box_convert, box_iou


def cxcywh_to_xyxy(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return the corners of boxes given by center and size."""
    converted: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return converted


def cxcywh_to_xywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return top left corner and size of boxes given by center and size."""
    converted: Tensor = box_convert(boxes, "cxcywh", "xywh")
    return converted


def xywh_to_cxcywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return center and size of boxes given by top left corner and size."""
    converted: Tensor = box_convert(boxes, "xywh", "cxcywh")
    return converted


def pairwise_iou(
    first: Float[Tensor, "batch first 4"], second: Float[Tensor, "batch second 4"]
) -> Float[Tensor, "batch first second"]:
    """Return the overlap of all pairs of cxcywh boxes in each sample."""
    return torch.stack([box_iou(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b)) for a, b in zip(first, second, strict=True)])


def paired_iou(first: Float[Tensor, "*shape 4"], second: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the overlap of each cxcywh box with the one at the same place."""
    # torchvision only has the matrix of all pairs, which would be built for its diagonal alone.
    ours, theirs = cxcywh_to_xyxy(first), cxcywh_to_xyxy(second)
    size = torch.minimum(ours[..., 2:], theirs[..., 2:]) - torch.maximum(ours[..., :2], theirs[..., :2])
    shared = size.clamp(min=0).prod(dim=-1)
    union = first[..., 2:].prod(dim=-1) + second[..., 2:].prod(dim=-1) - shared
    return shared / union.clamp(min=1e-9)
