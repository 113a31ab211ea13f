"""Clip training: which query is responsible for which object in each frame, the loss, and which tracks are carried on.

Source: `models/criterion.py`, `train_engine.py` and the training half of `models/query_updater.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

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

MIN_IOU = 0.5  # a track that overlaps its object less becomes a negative


@dataclass(frozen=True)
class LabelledSlots(TrackSlots):
    """Slots with their ground truth.

    Attributes:
        matched: index of the assigned object in the latest frame, -1 without.
        iou: overlap with the object in the latest frame that had it.
    """

    matched: Int[Tensor, "batch track"]
    iou: Float[Tensor, "batch track"]


@dataclass(frozen=True)
class LabelledTracks(TrackState, LabelledSlots):
    """The tracks of a clip with their ground truth: the state that training carries."""

    @classmethod
    def start(cls, tracks: TrackState) -> "LabelledTracks":
        """Return the tracks without any ground truth yet."""
        return cls(**vars(tracks), matched=torch.full_like(tracks.ids, -1), iou=torch.zeros_like(tracks.scores))


@dataclass(frozen=True)
class Assignment:
    """Which query is responsible for which object in one frame.

    Attributes:
        detect: object of each detect query, -1 without.
        track: object of each track query, -1 without.
        layers: object of each query of ``[detect ; track]``, one entry a decoder layer.
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


@dataclass(frozen=True)
class ConfidentSelection:
    """Objects and confident false positives, which go on as negatives.

    Args:
        threshold: score above which a false positive is carried on.
    """

    threshold: float = 0.5

    def __call__(
        self, seen: LabelledTracks, detections: LabelledSlots
    ) -> tuple[Bool[Tensor, "batch track"], Bool[Tensor, "batch query"]]:
        """Return which tracks are kept and which detections become tracks."""
        certainty = detections.logits.sigmoid().amax(dim=-1)
        keep = seen.valid & ((seen.scores > self.threshold) | (seen.ids >= 0))
        return keep, (certainty > self.threshold) | (detections.ids >= 0)


@dataclass(frozen=True)
class AugmentedSelection:
    """MOTR's augmentation, off in all released settings: good tracks only, some dropped, some with a false positive.

    Args:
        drop_rate: probability that a good track is dropped, so that its object must be found again.
        insert_rate: probability that a track brings the unmatched detection that overlaps it most along as a
            negative track. No other false positive is carried on.
    """

    drop_rate: float = 0.0
    insert_rate: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "drop_rate", "insert_rate")

    def __call__(
        self, seen: LabelledTracks, detections: LabelledSlots
    ) -> tuple[Bool[Tensor, "batch track"], Bool[Tensor, "batch query"]]:
        """Return which tracks are kept and which detections become tracks."""
        keep = seen.valid & (seen.ids >= 0) & (seen.iou > MIN_IOU)
        born = (detections.ids >= 0) & (detections.iou > MIN_IOU)
        keep = keep & (torch.rand_like(seen.iou) >= self.drop_rate)
        born = born & (torch.rand_like(detections.iou) >= self.drop_rate)
        chosen = torch.cat([keep, born], dim=1)
        # Only what survived the dropping may bring a false positive along.
        chosen = chosen & (torch.rand(chosen.shape, device=chosen.device) < self.insert_rate)
        unmatched = detections.ids < 0
        overlap = pairwise_iou(torch.cat([seen.boxes, detections.boxes], dim=1), detections.boxes)
        # batch track-or-detection detection
        best = F.one_hot(overlap.masked_fill(~unmatched[:, None], -1).argmax(dim=2), overlap.shape[2]).bool()
        inserted = (best & chosen[..., None]).any(dim=1)
        few = unmatched.sum(dim=1) <= chosen.sum(dim=1)  # no more than wanted: all of them
        return keep, born | (unmatched & (inserted | few[:, None]))


class Criterion(ABC):
    """What trains a network on a clip, frame by frame. Training aids wrap the paper's `ClipCriterion`."""

    def step(
        self,
        model: Memotr,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: LabelledTracks,
        targets: list[Target],
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Run the network on a frame; return the losses and the tracks that go into the next frame."""
        return self.follow(model, model(images, padding, tracks), tracks, targets)

    @abstractmethod
    def follow(
        self, model: Memotr, output: FrameOutput, tracks: LabelledTracks, targets: list[Target]
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Return the losses of what the network answered, and the tracks that go into the next frame."""

    @abstractmethod
    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it (averaged over processes, at least 1)."""


class ClipCriterion(Criterion):
    """Assigns ground truth over a clip and adds up the losses.

    A track query is responsible for the object with its identity; the objects that no track carries are matched to
    the detect queries by the Hungarian method, separately for each decoder layer.

    Args:
        merge_layer: decoder layers before it know no tracks, so their detect queries are matched to all objects.
        loss_weights: of focal, L1 and GIoU loss.
        cost_weights: of the same in the matching.
        selection: which tracks go into the next frame.
        supervise_passive_tracks: in layers before ``merge_layer`` train the tracks that pass through as background,
            a quirk of the official code; it changes the class loss only.
        average_classes: see `losses.set_losses`.
    """

    def __init__(
        self,
        merge_layer: int = 1,
        loss_weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
        cost_weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
        selection: ConfidentSelection | AugmentedSelection = ConfidentSelection(),
        supervise_passive_tracks: bool = True,
        average_classes: bool = True,
    ) -> None:
        self.merge_layer = merge_layer
        self.loss_weights = loss_weights
        self.cost_weights = cost_weights
        self.selection = selection
        self.supervise_passive_tracks = supervise_passive_tracks
        self.average_classes = average_classes

    def follow(
        self, model: Memotr, output: FrameOutput, tracks: LabelledTracks, targets: list[Target]
    ) -> tuple[FrameLosses, LabelledTracks]:
        """Return the losses of what the network answered, and the tracks that go into the next frame."""
        losses, assignment, objects = self.frame(output, tracks, targets)
        seen, detections = self.label(*observe(tracks, output), assignment, objects)
        carried, newborn = self.carry(seen, detections)
        remembered: LabelledTracks = model.track_memory(model.track_memory.start(carried, newborn))
        return losses, remembered

    def frame(
        self, output: FrameOutput, tracks: TrackState, targets: list[Target]
    ) -> tuple[FrameLosses, Assignment, Objects]:
        """Return losses and responsibilities of one frame; ``tracks`` is the state that went into the network."""
        objects = pad_targets(targets)
        assignment = self.assign(output, tracks, objects)
        aux = [self._layer(index, output, assignment, objects) for index in range(len(output.layers) - 1)]
        last = self._layer(len(output.layers) - 1, output, assignment, objects)
        return FrameLosses(last, sum(aux, start=last.scaled(0.0))), assignment, objects

    @torch.no_grad()
    def assign(self, output: FrameOutput, tracks: TrackState, objects: Objects) -> Assignment:
        """Return which object each query is responsible for."""
        # Identities are unique in a data set, and ground truth padding has -1 like negatives: both must be real.
        same = (tracks.ids[:, :, None] == objects.ids[:, None]) & objects.valid[:, None]  # batch track object
        same = same & (tracks.valid & (tracks.ids >= 0))[:, :, None]
        track = torch.where(same.any(dim=2), same.long().argmax(dim=2), -1)
        untracked = objects.valid & ~same.any(dim=1)
        costs = [self._costs(layer, output.num_detect, objects) for layer in output.layers]
        wanted = [self._wanted(index, objects, untracked) for index in range(len(costs))]
        # All layers in one call: one copy to the host instead of one a layer.
        matched = hungarian(torch.cat(costs), torch.cat(wanted)).split(len(objects.boxes))
        passive = torch.full_like(track, -1)
        layers = [
            torch.cat([detect, passive if index < self.merge_layer else track], dim=1)
            for index, detect in enumerate(matched)
        ]
        return Assignment(matched[-1], track, tuple(layers))

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it (averaged over processes, at least 1)."""
        first, *others = [losses.last + losses.aux for losses in frames]
        summed = sum(others, start=first)
        scale = torch.as_tensor(num_objects, dtype=torch.float32, device=summed.label.device).clamp(min=1)
        return summed.weighted(self.loss_weights) / scale

    @torch.no_grad()
    def label(
        self, seen: LabelledTracks, detections: TrackSlots, assignment: Assignment, objects: Objects
    ) -> tuple[LabelledTracks, LabelledSlots]:
        """Return tracks and detections with their ground truth: identity, index, overlap.

        A track whose object is absent keeps its overlap and so its identity until the object returns.
        """
        overlap = matched_iou(seen.boxes, assignment.track, objects)
        # 0 would end the identity of an object that is only hidden: an absent one is not judged.
        seen = replace(seen, matched=assignment.track, iou=torch.where(assignment.track >= 0, overlap, seen.iou))
        matched = assignment.detect
        ids = torch.where(matched >= 0, objects.ids.gather(1, matched.clamp(min=0)), NEGATIVE_ID)
        overlap = matched_iou(detections.boxes, matched, objects)
        return seen, LabelledSlots(**vars(detections) | {"ids": ids, "matched": matched, "iou": overlap})

    def carry(
        self, seen: LabelledTracks, detections: LabelledSlots
    ) -> tuple[LabelledTracks, Bool[Tensor, "batch track"]]:
        """Return the tracks that go into the next frame, and which of them are new.

        Tracks with IoU below 0.5 lose their identity and are negatives for one frame.
        """
        detections = _matched_first(detections)  # slots are in order of birth, and parity needs the official order
        keep, born = self.select(seen, detections)
        carried, newborn = seen.compact(keep).append(replace(detections, valid=born))
        ids = torch.where(carried.iou < MIN_IOU, NEGATIVE_ID, carried.ids)
        return replace(carried, ids=ids), newborn

    def select(
        self, seen: LabelledTracks, detections: LabelledSlots
    ) -> tuple[Bool[Tensor, "batch track"], Bool[Tensor, "batch query"]]:
        """Return which tracks are kept and which detections become tracks."""
        return self.selection(seen, detections)

    def _wanted(
        self, index: int, objects: Objects, untracked: Bool[Tensor, "batch object"]
    ) -> Bool[Tensor, "batch object"]:
        """Return the objects that the detect queries are to find in layer ``index``."""
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


def _matched_first(detections: LabelledSlots) -> LabelledSlots:
    """Return the detections with those of an object in front: the order in which the official code appends them."""
    return detections.take((detections.ids < 0).long().argsort(dim=1, stable=True))
