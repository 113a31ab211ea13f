"""Criterion of clip training: assignment of queries to objects, losses, and the tracks that enter the next frame.

Source: `models/criterion.py`, `train_engine.py` and the training half of `models/query_updater.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import check_range
from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.matching import hungarian, matching_cost
from mnemic_vision.memotr.losses import Losses, Objects, matched_iou, pad_targets, set_losses
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, LayerPrediction, observe
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.tracks import NEGATIVE_ID, TrackSlots, TrackState

MIN_IOU = 0.5  # a track with less overlap loses its identity
Selected: TypeAlias = tuple[Bool[Tensor, "batch track"], Bool[Tensor, "batch query"]]  # kept tracks, born detections


@dataclass(frozen=True)
class LabeledSlots(TrackSlots):
    """Slots with their ground truth.

    Attributes:
        matched: index of the assigned object in the latest frame, -1 for none.
        iou: IoU with the object in the latest frame that contained it.
    """

    matched: Int[Tensor, "batch track"]
    iou: Float[Tensor, "batch track"]


@dataclass(frozen=True)
class LabeledTracks(TrackState, LabeledSlots):
    """The tracks of a clip with their ground truth: the state in training."""

    @classmethod
    def start(cls, tracks: TrackState) -> "LabeledTracks":
        """Return the tracks without ground truth."""
        return cls(**vars(tracks), matched=torch.full_like(tracks.ids, -1), iou=torch.zeros_like(tracks.scores))


@dataclass(frozen=True)
class Assignment:
    """Index of the object that each query of a frame is assigned to, -1 for none.

    Attributes:
        detect: of each detect query.
        track: of each track query.
        layers: of each query ``[detect ; track]``, one entry per decoder layer.
    """

    detect: Int[Tensor, "batch query"]
    track: Int[Tensor, "batch track"]
    layers: tuple[Int[Tensor, "batch all_queries"], ...]


@dataclass(frozen=True)
class FrameLosses:
    """Losses of one frame, summed over queries.

    Attributes:
        last: of the last decoder layer.
        aux: of the layers before it and of training aids.
    """

    last: Losses
    aux: Losses


Step: TypeAlias = tuple[FrameLosses, LabeledTracks]  # losses of a frame, and the tracks that enter the next one


@dataclass(frozen=True)
class ConfidentSelection:
    """Keeps objects, and false positives with a score above ``threshold`` as negative tracks."""

    threshold: float = 0.5

    def __call__(self, seen: LabeledTracks, detections: LabeledSlots) -> Selected:
        """Return which tracks are kept and which detections become tracks."""
        keep = seen.valid & ((seen.scores > self.threshold) | (seen.ids >= 0))
        return keep, (detections.confidence > self.threshold) | (detections.ids >= 0)


@dataclass(frozen=True)
class AugmentedSelection:
    """Track augmentation of MOTR (arXiv 2105.03247), off in all released settings.

    Only tracks of objects are kept, and the false positives that are inserted.

    Args:
        drop_rate: probability that a track is dropped, so that its object must be detected again.
        insert_rate: probability that the unmatched detection with the highest IoU with a track becomes a negative
            track.
    """

    drop_rate: float = 0.0
    insert_rate: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "drop_rate", "insert_rate")

    def __call__(self, seen: LabeledTracks, detections: LabeledSlots) -> Selected:
        """Return which tracks are kept and which detections become tracks."""
        keep = seen.valid & (seen.ids >= 0) & (seen.iou > MIN_IOU)
        born = (detections.ids >= 0) & (detections.iou > MIN_IOU)
        keep = keep & (torch.rand_like(seen.iou) >= self.drop_rate)
        born = born & (torch.rand_like(detections.iou) >= self.drop_rate)
        chosen = torch.cat([keep, born], dim=1)
        # Dropped tracks insert no false positive.
        chosen = chosen & (torch.rand(chosen.shape, device=chosen.device) < self.insert_rate)
        unmatched = detections.ids < 0
        overlap = pairwise_iou(torch.cat([seen.boxes, detections.boxes], dim=1), detections.boxes)
        best = F.one_hot(overlap.masked_fill(~unmatched[:, None], -1).argmax(dim=2), overlap.shape[2]).bool()
        inserted = (best & chosen[..., None]).any(dim=1)  # batch detection, from batch (track detection) detection
        few = unmatched.sum(dim=1) <= chosen.sum(dim=1)  # no more than are to be inserted: all of them
        return keep, born | (unmatched & (inserted | few[:, None]))


class Criterion(ABC):
    """Losses of a network on a clip, frame by frame. Training aids wrap the paper's `ClipCriterion`."""

    def step(
        self,
        model: Memotr,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: LabeledTracks,
        targets: list[Target],
    ) -> Step:
        """Run the network on a frame; return the losses and the tracks that enter the next frame."""
        return self.follow(model, model(images, padding, tracks), tracks, targets)

    @abstractmethod
    def follow(self, model: Memotr, output: FrameOutput, tracks: LabeledTracks, targets: list[Target]) -> Step:
        """Return the losses of the network's output, and the tracks that enter the next frame."""

    @abstractmethod
    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it (mean over processes, at least 1)."""


@dataclass(frozen=True)
class ClipCriterion(Criterion):
    """Assigns ground truth over a clip and sums the losses.

    A track query is assigned the object with its identity; the objects without a track are matched to the detect
    queries by the Hungarian algorithm, separately for each decoder layer.

    Args:
        merge_layer: decoder layers before it have no tracks, so their detect queries are matched to all objects.
        loss_weights: of focal, L1 and GIoU loss.
        cost_weights: the same for the matching.
        selection: which tracks enter the next frame.
        supervise_passive_tracks: train the tracks that pass through the layers before ``merge_layer`` as background,
            as the official code does; this changes the class loss only.
        average_classes: see `losses.set_losses`.
    """

    merge_layer: int = 1
    loss_weights: tuple[float, float, float] = (2.0, 5.0, 2.0)
    cost_weights: tuple[float, float, float] = (2.0, 5.0, 2.0)
    selection: ConfidentSelection | AugmentedSelection = ConfidentSelection()
    supervise_passive_tracks: bool = True
    average_classes: bool = True

    def follow(self, model: Memotr, output: FrameOutput, tracks: LabeledTracks, targets: list[Target]) -> Step:
        """Return the losses of the network's output, and the tracks that enter the next frame."""
        losses, assignment, objects = self.frame(output, tracks, targets)
        seen, detections = self.label(*observe(tracks, output), assignment, objects)
        carried, newborn = self.carry(seen, detections)
        remembered: LabeledTracks = model.track_memory(model.track_memory.start(carried, newborn))
        return losses, remembered

    def frame(
        self, output: FrameOutput, tracks: TrackState, targets: list[Target]
    ) -> tuple[FrameLosses, Assignment, Objects]:
        """Return losses and assignment of one frame; ``tracks`` is the state that entered the network."""
        objects = pad_targets(targets)
        assignment = self.assign(output, tracks, objects)
        aux = [self._layer(index, output, assignment, objects) for index in range(len(output.layers) - 1)]
        last = self._layer(len(output.layers) - 1, output, assignment, objects)
        return FrameLosses(last, sum(aux, start=last.scaled(0.0))), assignment, objects

    @torch.no_grad()
    def assign(self, output: FrameOutput, tracks: TrackState, objects: Objects) -> Assignment:
        """Return the object of each query."""
        # Padded objects have identity -1 like negative tracks, so both sides must be valid.
        same = (tracks.ids[:, :, None] == objects.ids[:, None]) & objects.valid[:, None]  # batch track object
        same = same & (tracks.valid & (tracks.ids >= 0))[:, :, None]
        track = torch.where(same.any(dim=2), same.long().argmax(dim=2), -1)
        untracked = objects.valid & ~same.any(dim=1)
        costs = [self._costs(layer, output.num_detect, objects) for layer in output.layers]
        wanted = [self._wanted(index, objects, untracked) for index in range(len(costs))]
        # All layers in one call: one copy to the host instead of one per layer.
        matched = hungarian(torch.cat(costs), torch.cat(wanted)).split(len(objects.boxes))
        passive = torch.full_like(track, -1)
        layers = [
            torch.cat([detect, passive if index < self.merge_layer else track], dim=1)
            for index, detect in enumerate(matched)
        ]
        return Assignment(matched[-1], track, tuple(layers))

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it (mean over processes, at least 1)."""
        first, *others = [losses.last + losses.aux for losses in frames]
        summed = sum(others, start=first)
        scale = torch.as_tensor(num_objects, dtype=torch.float32, device=summed.label.device).clamp(min=1)
        return summed.weighted(self.loss_weights) / scale

    @torch.no_grad()
    def label(
        self, seen: LabeledTracks, detections: TrackSlots, assignment: Assignment, objects: Objects
    ) -> tuple[LabeledTracks, LabeledSlots]:
        """Return tracks and detections with their ground truth: identity, index and IoU."""
        overlap = matched_iou(seen.boxes, assignment.track, objects)
        # A track keeps the IoU of before, and with it its identity, while its object is absent from the ground truth.
        seen = replace(seen, matched=assignment.track, iou=torch.where(assignment.track >= 0, overlap, seen.iou))
        matched = assignment.detect
        ids = torch.where(matched >= 0, objects.ids.gather(1, matched.clamp(min=0)), NEGATIVE_ID)
        overlap = matched_iou(detections.boxes, matched, objects)
        return seen, LabeledSlots(**vars(detections) | {"ids": ids, "matched": matched, "iou": overlap})

    def carry(self, seen: LabeledTracks, detections: LabeledSlots) -> tuple[LabeledTracks, Bool[Tensor, "batch track"]]:
        """Return the tracks that enter the next frame, and which are new; those with IoU below 0.5 become negatives."""
        # Detections of objects first, as the official code appends them: slots are in order of birth.
        detections = detections.take((detections.ids < 0).long().argsort(dim=1, stable=True))
        keep, born = self.select(seen, detections)
        carried, newborn = seen.compact(keep).append(replace(detections, valid=born))
        ids = torch.where(carried.iou < MIN_IOU, NEGATIVE_ID, carried.ids)
        return replace(carried, ids=ids), newborn

    def select(self, seen: LabeledTracks, detections: LabeledSlots) -> Selected:
        """Return which tracks are kept and which detections become tracks."""
        return self.selection(seen, detections)

    def _wanted(
        self, index: int, objects: Objects, untracked: Bool[Tensor, "batch object"]
    ) -> Bool[Tensor, "batch object"]:
        """Return the objects that the detect queries of layer ``index`` are matched to."""
        return objects.valid if index < self.merge_layer else untracked

    def _costs(self, layer: LayerPrediction, count: int, objects: Objects) -> Float[Tensor, "batch query object"]:
        rows = zip(layer.logits[:, :count], layer.boxes[:, :count], objects.labels, objects.boxes, strict=True)
        return torch.stack([matching_cost(*row, weights=self.cost_weights) for row in rows])

    def _layer(self, index: int, output: FrameOutput, assignment: Assignment, objects: Objects) -> Losses:
        """Return the losses of a decoder layer."""
        layer, ignored = output.layers[index], output.padding
        if index < self.merge_layer and not self.supervise_passive_tracks:
            is_track = torch.arange(ignored.shape[1], device=ignored.device) >= output.num_detect
            ignored = ignored | is_track
        matched = assignment.layers[index]
        return set_losses(layer.logits, layer.boxes, matched, ignored, objects, self.average_classes)
