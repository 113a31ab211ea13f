"""One-to-one assignment of predictions to ground truth."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from mnemic_vision.boxes import cxcywh_to_xyxy


def focal_cost(logits: Float[Tensor, "query label"], labels: Int[Tensor, " object"]) -> Float[Tensor, "query object"]:
    """Return the difference of the focal loss (alpha 0.25, gamma 2) with and without the class of the object."""
    probability = logits.sigmoid()
    positive = 0.25 * (1 - probability) ** 2 * -(probability + 1e-8).log()
    negative = 0.75 * probability**2 * -(1 - probability + 1e-8).log()
    return (positive - negative)[:, labels]


def matching_cost(
    logits: Float[Tensor, "query label"],
    boxes: Float[Tensor, "query 4"],
    labels: Int[Tensor, " object"],
    objects: Float[Tensor, "object 4"],
    weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
) -> Float[Tensor, "query object"]:
    """Return the matching cost of each query and object, with boxes as cxcywh in [0, 1].

    The weights are those of the focal, L1 and GIoU cost; the defaults are the paper's.
    """
    focal, distance, overlap = weights
    cost = focal * focal_cost(logits, labels) + distance * torch.cdist(boxes, objects, p=1)
    iou: Tensor = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(objects))
    return cost - overlap * iou


@torch.no_grad()
def hungarian(
    cost: Float[Tensor, "batch query object"], allowed: Bool[Tensor, "batch object"]
) -> Int[Tensor, "batch query"]:
    """Return the object of each query, -1 for none, in the minimum-cost assignment of the allowed objects."""
    matched = np.full(cost.shape[:2], -1)
    # scipy raises for NaN and infinity, but a diverging network still needs an assignment for its gradient.
    host, columns = cost.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy(), allowed.cpu().numpy()
    for row, (matrix, mask) in enumerate(zip(host, columns, strict=True)):
        # Other columns are removed: objects with a high cost could still be chosen.
        (objects,) = mask.nonzero()
        queries, order = linear_sum_assignment(matrix[:, objects])
        matched[row, queries] = objects[order]
    return torch.from_numpy(matched).to(cost.device)
