"""Losses of a set of predictions whose ground truth is known, summed: the clip divides by its number of objects."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from mnemic_vision.boxes import cxcywh_to_xyxy, paired_iou
from mnemic_vision.memotr.targets import Target


@dataclass(frozen=True)
class Losses:
    """Focal loss of the classes, L1 and generalized IoU loss of the boxes."""

    label: Float[Tensor, ""]
    l1: Float[Tensor, ""]
    giou: Float[Tensor, ""]

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(self.label + other.label, self.l1 + other.l1, self.giou + other.giou)

    def scaled(self, factor: Float[Tensor, ""] | float) -> "Losses":
        """Return all three times ``factor``."""
        return Losses(self.label * factor, self.l1 * factor, self.giou * factor)

    def weighted(self, weights: tuple[float, float, float]) -> Float[Tensor, ""]:
        """Return their weighted sum."""
        return weights[0] * self.label + weights[1] * self.l1 + weights[2] * self.giou


@dataclass(frozen=True)
class Objects:
    """Ground truth of a batch, padded to the same number of objects.

    Attributes:
        boxes: cxcywh in [0, 1].
        labels: class.
        ids: identity.
        valid: True at objects, False at padding.
    """

    boxes: Float[Tensor, "batch object 4"]
    labels: Int[Tensor, "batch object"]
    ids: Int[Tensor, "batch object"]
    valid: Bool[Tensor, "batch object"]


def pad_targets(targets: list[Target]) -> Objects:
    """Return the ground truth of a batch, padded to the same number of objects, at least 1."""
    # At least 1, because gather needs an index that exists even where nothing is matched.
    size = max(1, *(len(target.ids) for target in targets))

    def padded(name: str, value: float) -> Tensor:
        rows = [getattr(target, name) for target in targets]
        pads = [(0, 0) * (row.dim() - 1) + (0, size - len(row)) for row in rows]
        return torch.stack([F.pad(row, pad, value=value) for row, pad in zip(rows, pads, strict=True)])

    ids = padded("ids", -1.0)
    count = torch.tensor([len(target.ids) for target in targets], device=ids.device)
    valid = torch.arange(size, device=ids.device) < count[:, None]
    return Objects(padded("boxes", 0.5), padded("labels", 0.0), ids, valid)


def set_losses(
    logits: Float[Tensor, "batch query label"],
    boxes: Float[Tensor, "batch query 4"],
    matched: Int[Tensor, "batch query"],
    ignored: Bool[Tensor, "batch query"],
    objects: Objects,
    average_classes: bool = True,
) -> Losses:
    """Return the losses of predictions.

    Args:
        logits: class logits.
        boxes: cxcywh in [0, 1].
        matched: object of each query, -1 for background.
        ignored: True at queries without loss.
        objects: ground truth.
        average_classes: mean of the focal loss over classes, as in the official code, instead of the sum, as in
            Deformable-DETR.
    """
    found = matched >= 0
    index = matched.clamp(min=0)  # background reads object 0 and is zeroed by `found`
    labels = objects.labels.gather(1, index)
    target = F.one_hot(labels, logits.shape[-1]).to(logits.dtype) * found[..., None]
    focal = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2)
    focal = focal.mean(-1) if average_classes else focal.sum(-1)  # batch query
    label = (focal * ~ignored).sum()
    truth = objects.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    return Losses(label, *box_losses(boxes[found], truth[found]))


def matched_iou(
    boxes: Float[Tensor, "batch query 4"], matched: Int[Tensor, "batch query"], objects: Objects
) -> Float[Tensor, "batch query"]:
    """Return the overlap of each query with its object, 0 without one."""
    truth = objects.boxes.gather(1, matched.clamp(min=0)[..., None].expand(-1, -1, 4))
    return paired_iou(boxes, truth) * (matched >= 0)


def box_losses(
    boxes: Float[Tensor, "pair 4"], truth: Float[Tensor, "pair 4"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return L1 and GIoU losses of pairs; zero with a gradient path where there are none."""
    # No eps, as in the official code: torchvision's default changes the loss of small boxes.
    overlap = generalized_box_iou_loss(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth), reduction="sum", eps=0.0)
    return (boxes - truth).abs().sum(), overlap
