"""The criteria of the training aids; each wraps or changes the paper's criterion."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from mnemic_vision.boxes import cxcywh_to_xyxy
from mnemic_vision.matching import matching_cost
from mnemic_vision.memotr.aids.denoising import Denoising, denoise
from mnemic_vision.memotr.aids.detect_alone import is_distinct
from mnemic_vision.memotr.aids.proposals import DenseProposals, ProposedQueries
from mnemic_vision.memotr.criterion import (
    MIN_IOU,
    Assignment,
    ClipCriterion,
    Criterion,
    FrameLosses,
    LabelledSlots,
    LabelledTracks,
)
from mnemic_vision.memotr.losses import Losses, Objects, box_losses, matched_iou, pad_targets, set_losses
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.tracks import TrackSlots

TOKENS_PER_OBJECT = 8  # one-to-many assignment of dense proposals


class AloneCriterion(ClipCriterion):
    """Trains detect queries on all objects; one that a track covers well is not born a second time."""

    @torch.no_grad()
    def label(
        self, seen: LabelledTracks, detections: TrackSlots, assignment: Assignment, objects: Objects
    ) -> tuple[LabelledTracks, LabelledSlots]:
        """Return tracks and detections with their ground truth, detections of a covered object without."""
        covers = seen.valid & (matched_iou(seen.boxes, assignment.track, objects) >= MIN_IOU)
        covered = torch.where(covers, assignment.track, -1)
        is_covered = (assignment.detect[:, :, None] == covered[:, None]).any(dim=2)
        free = torch.where(is_covered, -1, assignment.detect)
        return super().label(seen, detections, replace(assignment, detect=free), objects)

    def select(
        self, seen: LabelledTracks, detections: LabelledSlots
    ) -> tuple[Bool[Tensor, "batch track"], Bool[Tensor, "batch query"]]:
        """Return which tracks are kept and which detections, distinct from these and each other, become tracks."""
        keep, born = super().select(seen, detections)
        # Detections of an object come before every false positive, however confident.
        priority = detections.logits.sigmoid().amax(dim=-1) + (detections.ids >= 0)
        return keep, born & is_distinct(detections, replace(seen, valid=keep), priority)

    def _wanted(
        self, index: int, objects: Objects, untracked: Bool[Tensor, "batch object"]
    ) -> Bool[Tensor, "batch object"]:
        return objects.valid


class ProposalCriterion(Criterion):
    """Adds the losses of dense proposals to those of another criterion."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def follow(
        self, model: Memotr, output: FrameOutput, tracks: LabelledTracks, targets: list[Target]
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Return the losses of what the network answered, and the tracks that go into the next frame."""
        losses, tracks = self.criterion.follow(model, output, tracks, targets)
        if not isinstance(output.detect, ProposedQueries):
            raise TypeError(f"expected a network with dense proposals, got {type(output.detect).__name__}")
        added = proposal_losses(output.detect.proposals, pad_targets(targets))
        return replace(losses, aux=losses.aux + added), tracks

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, as the other criterion adds it up."""
        return self.criterion.total(frames, num_objects)


class DenoisingCriterion(Criterion):
    """Runs a network in training with noised queries and adds their losses to those of another criterion.

    Args:
        criterion: the other criterion.
        denoising: makes the noised queries.
        average_classes: see `losses.set_losses`.
    """

    def __init__(self, criterion: Criterion, denoising: Denoising, average_classes: bool = True) -> None:
        self.criterion = criterion
        self.denoising = denoising
        self.average_classes = average_classes

    def step(
        self,
        model: Memotr,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: LabelledTracks,
        targets: list[Target],
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Run the network on a frame; return the losses and the tracks that go into the next frame."""
        if not model.training:
            return self.criterion.step(model, images, padding, tracks, targets)
        noised, objects = self.denoising(targets), pad_targets(targets)
        output, denoised = denoise(model, noised, images, padding, tracks)
        losses, tracks = self.criterion.follow(model, output, tracks, targets)
        added = [
            set_losses(layer.logits, layer.boxes, noised.objects, noised.padding, objects, self.average_classes)
            for layer in denoised
        ]
        summed = sum(added[1:], start=added[0]).scaled(1 / self.denoising.num_groups)
        return replace(losses, aux=losses.aux + summed), tracks

    def follow(
        self, model: Memotr, output: FrameOutput, tracks: LabelledTracks, targets: list[Target]
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Return what the other criterion makes of an answer without noised queries."""
        return self.criterion.follow(model, output, tracks, targets)

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, as the other criterion adds it up."""
        return self.criterion.total(frames, num_objects)


def proposal_losses(proposals: DenseProposals, objects: Objects) -> Losses:
    """Return the losses of dense proposals under one-to-many assignment.

    Each object takes the cheapest `TOKENS_PER_OBJECT` tokens whose centre it holds; the class target of a taken token
    is its overlap with the object (quality focal loss), so that scores rank boxes by how well they fit.
    """
    total = []
    for row in range(len(proposals.logits)):
        keep = ~proposals.padding[row]
        logits, boxes, centres = (part[row][keep] for part in (proposals.logits, proposals.boxes, proposals.centres))
        valid = objects.valid[row]
        matched = _dense_assignment(logits, boxes, centres, objects.labels[row][valid], objects.boxes[row][valid])
        found = matched >= 0
        truth, labels = objects.boxes[row][valid][matched[found]], objects.labels[row][valid][matched[found]]
        quality = torch.zeros_like(logits)  # token label
        quality[found.nonzero()[:, 0], labels] = _paired_iou(boxes[found].detach(), truth)
        # Quality focal loss: the further the score from the overlap, the more it counts.
        weight = (quality - logits.detach().sigmoid()).abs() ** 2
        label = (weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")).sum()
        total.append(Losses(label, *box_losses(boxes[found], truth)))
    return sum(total[1:], start=total[0]).scaled(1 / TOKENS_PER_OBJECT)


@torch.no_grad()
def _dense_assignment(
    logits: Float[Tensor, "token label"],
    boxes: Float[Tensor, "token 4"],
    centres: Float[Tensor, "token 2"],
    labels: Int[Tensor, " object"],
    objects: Float[Tensor, "object 4"],
) -> Int[Tensor, " token"]:
    """Return the object of each token, -1 without."""
    matched = torch.full((len(boxes),), -1, device=boxes.device)
    if len(objects) == 0:
        return matched
    # token object 2
    offset = (centres[:, None] - objects[None, :, :2]).abs()
    outside = (offset > objects[None, :, 2:] / 2).any(dim=-1)
    # A tiny object may hold no centre: then the cheapest tokens around it take its place.
    cost = matching_cost(logits, boxes, labels, objects) + 100.0 * outside
    count = min(TOKENS_PER_OBJECT, len(cost))
    cheapest, tokens = cost.topk(count, dim=0, largest=False)
    best = torch.full_like(cost, torch.inf).scatter(0, tokens, cheapest)
    price, owner = best.min(dim=1)  # a token between two objects goes to the cheaper one
    return torch.where(price.isfinite(), owner, matched)


def _paired_iou(first: Float[Tensor, "pair 4"], second: Float[Tensor, "pair 4"]) -> Float[Tensor, " pair"]:
    if len(first) == 0:
        return first.new_zeros(0)
    overlap: Tensor = box_iou(cxcywh_to_xyxy(first), cxcywh_to_xyxy(second))
    return overlap.diagonal()
