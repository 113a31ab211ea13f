"""Box conversions. ``cxcywh`` is centre and size, ``xyxy`` two corners, ``xywh`` top left corner and size."""

from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert


def cxcywh_to_xyxy(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return the corners of boxes given by centre and size."""
    converted: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return converted


def cxcywh_to_xywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return top left corner and size of boxes given by centre and size."""
    converted: Tensor = box_convert(boxes, "cxcywh", "xywh")
    return converted


def xywh_to_cxcywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Return centre and size of boxes given by top left corner and size."""
    converted: Tensor = box_convert(boxes, "xywh", "cxcywh")
    return converted
