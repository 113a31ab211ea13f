"""Criteria of the training aids; each wraps or changes the paper's criterion."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_vision.boxes import paired_iou
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
    LabeledSlots,
    LabeledTracks,
    Selected,
    Step,
)
from mnemic_vision.memotr.losses import Losses, Objects, box_losses, matched_iou, pad_targets, set_losses
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.tracks import TrackSlots

TOKENS_PER_OBJECT = 8  # one-to-many assignment of dense proposals


@dataclass(frozen=True)
class AloneCriterion(ClipCriterion):
    """Trains detect queries on all objects; an object that a track covers well starts no second track."""

    @torch.no_grad()
    def label(
        self, seen: LabeledTracks, detections: TrackSlots, assignment: Assignment, objects: Objects
    ) -> tuple[LabeledTracks, LabeledSlots]:
        """Return tracks and detections with their ground truth; detections of covered objects get none."""
        covers = seen.valid & (matched_iou(seen.boxes, assignment.track, objects) >= MIN_IOU)
        covered = torch.where(covers, assignment.track, -1)
        is_covered = (assignment.detect[:, :, None] == covered[:, None]).any(dim=2)
        free = torch.where(is_covered, -1, assignment.detect)
        return super().label(seen, detections, replace(assignment, detect=free), objects)

    def select(self, seen: LabeledTracks, detections: LabeledSlots) -> Selected:
        """Return which tracks are kept, and which detections become tracks: distinct from these and each other."""
        keep, born = super().select(seen, detections)
        # Detections of an object come before every false positive, however confident.
        priority = detections.confidence + (detections.ids >= 0)
        return keep, born & is_distinct(detections, replace(seen, valid=keep), priority)

    def _wanted(
        self, index: int, objects: Objects, untracked: Bool[Tensor, "batch object"]
    ) -> Bool[Tensor, "batch object"]:
        return objects.valid


@dataclass(frozen=True)
class WrappedCriterion(Criterion):
    """Another criterion, to which subclasses add losses."""

    criterion: Criterion

    def follow(self, model: Memotr, output: FrameOutput, tracks: LabeledTracks, targets: list[Target]) -> Step:
        """Return the losses of the network's output, and the tracks that enter the next frame."""
        return self.criterion.follow(model, output, tracks, targets)

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it."""
        return self.criterion.total(frames, num_objects)


@dataclass(frozen=True)
class ProposalCriterion(WrappedCriterion):
    """Adds the losses of dense proposals to those of another criterion."""

    def follow(self, model: Memotr, output: FrameOutput, tracks: LabeledTracks, targets: list[Target]) -> Step:
        """Return the losses of the network's output, and the tracks that enter the next frame."""
        losses, tracks = super().follow(model, output, tracks, targets)
        if not isinstance(output.detect, ProposedQueries):
            raise TypeError(f"expected a network with dense proposals, got {type(output.detect).__name__}")
        added = proposal_losses(output.detect.proposals, pad_targets(targets))
        return replace(losses, aux=losses.aux + added), tracks


@dataclass(frozen=True)
class DenoisingCriterion(WrappedCriterion):
    """Adds the losses of noised queries, in training mode, to those of another criterion."""

    denoising: Denoising
    average_classes: bool = True

    def step(
        self,
        model: Memotr,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: LabeledTracks,
        targets: list[Target],
    ) -> Step:
        """Run the network on a frame; return the losses and the tracks that enter the next frame."""
        if not model.training:
            return self.criterion.step(model, images, padding, tracks, targets)
        objects = pad_targets(targets)
        noised = self.denoising(objects)
        output, denoised = denoise(model, noised, images, padding, tracks)
        losses, tracks = self.criterion.follow(model, output, tracks, targets)
        first, *others = [
            set_losses(layer.logits, layer.boxes, noised.objects, noised.padding, objects, self.average_classes)
            for layer in denoised
        ]
        summed = sum(others, start=first).scaled(1 / self.denoising.num_groups)
        return replace(losses, aux=losses.aux + summed), tracks


def proposal_losses(proposals: DenseProposals, objects: Objects) -> Losses:
    """Return the losses of dense proposals under one-to-many assignment.

    Each object is assigned the `TOKENS_PER_OBJECT` cheapest tokens with centers inside it. Their class target is the
    IoU with the object (quality focal loss, arXiv 2006.04388), so that scores rank boxes by localization.
    """
    total = []
    for row in range(len(proposals.logits)):
        keep = ~proposals.padding[row]
        logits, boxes, centers = (part[row][keep] for part in (proposals.logits, proposals.boxes, proposals.centers))
        valid = objects.valid[row]
        matched = _dense_assignment(logits, boxes, centers, objects.labels[row][valid], objects.boxes[row][valid])
        found = matched >= 0
        truth, labels = objects.boxes[row][valid][matched[found]], objects.labels[row][valid][matched[found]]
        quality = torch.zeros_like(logits)  # token label
        quality[found.nonzero()[:, 0], labels] = paired_iou(boxes[found].detach(), truth)
        weight = (quality - logits.detach().sigmoid()).abs() ** 2
        label = (weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")).sum()
        total.append(Losses(label, *box_losses(boxes[found], truth)))
    return sum(total[1:], start=total[0]).scaled(1 / TOKENS_PER_OBJECT)


@torch.no_grad()
def _dense_assignment(
    logits: Float[Tensor, "token label"],
    boxes: Float[Tensor, "token 4"],
    centers: Float[Tensor, "token 2"],
    labels: Int[Tensor, " object"],
    objects: Float[Tensor, "object 4"],
) -> Int[Tensor, " token"]:
    """Return the object of each token, -1 without."""
    matched = torch.full((len(boxes),), -1, device=boxes.device)
    if len(objects) == 0:
        return matched
    offset = (centers[:, None] - objects[None, :, :2]).abs()  # token object 2
    outside = (offset > objects[None, :, 2:] / 2).any(dim=-1)
    # A penalty and no mask: a tiny object may contain no center, and then takes the cheapest tokens around it.
    cost = matching_cost(logits, boxes, labels, objects) + 100.0 * outside
    count = min(TOKENS_PER_OBJECT, len(cost))
    cheapest, tokens = cost.topk(count, dim=0, largest=False)
    best = torch.full_like(cost, torch.inf).scatter(0, tokens, cheapest)
    price, owner = best.min(dim=1)  # a token that several objects chose goes to the cheapest
    return torch.where(price.isfinite(), owner, matched)
