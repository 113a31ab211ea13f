"""Clip training: which query is responsible for which object in each frame, the loss, and who is carried on.

Source: `models/criterion.py`, `train_engine.py` and the training half of `models/query_updater.py`.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.matching import hungarian, matching_cost
from mnemic_vision.memotr.losses import Losses, Objects, matched_iou, pad_targets, proposal_losses, set_losses
from mnemic_vision.memotr.model import FrameOutput, LayerPrediction, Memotr
from mnemic_vision.memotr.targets import ClipBatch, Target
from mnemic_vision.memotr.tracks import NEGATIVE_ID, TrackSlots, TrackState, is_distinct

MIN_IOU = 0.5  # a track that overlaps its object less becomes a negative


@dataclass(frozen=True)
class Assignment:
    """Who is responsible for what in one frame.

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
        aux: of the layers before it.
        aids: of dense proposals and noised queries, None without them.
    """

    last: Losses
    aux: Losses
    aids: Losses | None


class ClipCriterion:
    """Assigns ground truth over a clip and adds up the losses.

    A track query is responsible for the object with its identity; the objects that no track carries are matched to
    the detect queries by the Hungarian method, anew for each decoder layer.

    Args:
        merge_layer: decoder layers before it know no tracks, so their detect queries are matched to all objects.
        loss_weights: of focal, L1 and GIoU loss.
        cost_weights: of the same in the matching.
        update_threshold: unmatched detections above this score are carried on as negative tracks.
        supervise_passive_tracks: in layers before ``merge_layer`` train the tracks that pass through as background,
            a quirk of the official code; it changes the class loss only.
        average_classes: see `losses.set_losses`.
        drop_rate: probability that a good track is dropped, so that its object must be found again (MOTR's
            augmentation, off in all released settings).
        insert_rate: probability that a track brings the unmatched detection that overlaps it most along as a
            negative track (likewise). With one of the rates above 0 no other false positive is carried on.
        detect_alone: train the detect queries on all objects, as `MemotrConfig` says.
    """

    def __init__(
        self,
        merge_layer: int = 1,
        loss_weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
        cost_weights: tuple[float, float, float] = (2.0, 5.0, 2.0),
        update_threshold: float = 0.5,
        supervise_passive_tracks: bool = True,
        average_classes: bool = True,
        drop_rate: float = 0.0,
        insert_rate: float = 0.0,
        detect_alone: bool = False,
    ) -> None:
        self.merge_layer = merge_layer
        self.loss_weights = loss_weights
        self.cost_weights = cost_weights
        self.update_threshold = update_threshold
        self.supervise_passive_tracks = supervise_passive_tracks
        self.average_classes = average_classes
        self.drop_rate = drop_rate
        self.insert_rate = insert_rate
        self.detect_alone = detect_alone

    def frame(
        self, output: FrameOutput, tracks: TrackState, targets: list[Target]
    ) -> tuple[FrameLosses, Assignment, Objects]:
        """Return losses and responsibilities of one frame; ``tracks`` is the state that went into the network."""
        objects = pad_targets(targets)
        assignment = self.assign(output, tracks, objects)
        aux = [self._layer(index, output, assignment, objects) for index in range(len(output.layers) - 1)]
        last = self._layer(len(output.layers) - 1, output, assignment, objects)
        zero = last.scaled(0.0)
        return FrameLosses(last, sum(aux, start=zero), self._aids(output, objects)), assignment, objects

    @torch.no_grad()
    def assign(self, output: FrameOutput, tracks: TrackState, objects: Objects) -> Assignment:
        """Return which object each query is responsible for."""
        same = (tracks.ids[:, :, None] == objects.ids[:, None]) & objects.valid[:, None]
        same = same & (tracks.valid & (tracks.ids >= 0))[:, :, None]
        track = torch.where(same.any(dim=2), same.long().argmax(dim=2), -1)
        untracked = objects.valid & ~same.any(dim=1)
        count = output.num_detect
        costs = [self._costs(layer, count, objects) for layer in output.layers]
        num_alone = len(costs) if self.detect_alone else self.merge_layer
        allowed = [objects.valid if index < num_alone else untracked for index in range(len(costs))]
        matched = hungarian(torch.cat(costs), torch.cat(allowed)).split(len(objects.boxes))
        passive = torch.full_like(track, -1)
        layers = [
            torch.cat([detect, passive if index < self.merge_layer else track], dim=1)
            for index, detect in enumerate(matched)
        ]
        return Assignment(matched[-1], track, tuple(layers))

    def total(self, frames: list[FrameLosses], num_objects: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """Return the loss of a clip, divided by the number of objects in it (averaged over processes, at least 1)."""
        parts = [losses.last + losses.aux for losses in frames]
        parts += [losses.aids for losses in frames if losses.aids is not None]
        summed = sum(parts[1:], start=parts[0])
        scale = torch.as_tensor(num_objects, dtype=torch.float32, device=summed.label.device).clamp(min=1)
        return summed.weighted(self.loss_weights) / scale

    @torch.no_grad()
    def label(
        self, seen: TrackState, detections: TrackSlots, assignment: Assignment, objects: Objects
    ) -> tuple[TrackState, TrackSlots]:
        """Return tracks and detections with their ground truth: identity, index, overlap.

        A track whose object is absent keeps its overlap and so its identity until the object returns.
        """
        overlap = matched_iou(seen.boxes, assignment.track, objects)
        seen = replace(seen, matched=assignment.track, iou=torch.where(assignment.track >= 0, overlap, seen.iou))
        matched = assignment.detect
        if self.detect_alone:
            matched = torch.where(_is_held(matched, seen), -1, matched)
        ids = torch.where(matched >= 0, objects.ids.gather(1, matched.clamp(min=0)), NEGATIVE_ID)
        overlap = matched_iou(detections.boxes, matched, objects)
        return seen, replace(detections, ids=ids, matched=matched, iou=overlap)

    def carry(self, seen: TrackState, detections: TrackSlots) -> tuple[TrackState, Bool[Tensor, "batch track"]]:
        """Return the tracks that go into the next frame, and which of them are new.

        Kept are tracks and matched detections with an identity, and false positives that look confident: they go on
        as negatives. Who overlaps its object by less than half loses its identity and is a negative for one frame.
        """
        detections = _matched_first(detections)
        certainty = detections.logits.sigmoid().amax(dim=-1)
        if self.drop_rate or self.insert_rate:
            keep, born = self._augmented(seen, detections)
        else:
            keep = seen.valid & ((seen.scores > self.update_threshold) | (seen.ids >= 0))
            born = (certainty > self.update_threshold) | (detections.ids >= 0)
        if self.detect_alone:
            # Whoever is of an object comes before every false positive, however confident.
            priority = certainty + (detections.ids >= 0)
            born = born & is_distinct(detections, replace(seen, valid=keep), priority)
        carried, newborn = seen.compact(keep).append(replace(detections, valid=born))
        ids = torch.where(carried.iou < MIN_IOU, NEGATIVE_ID, carried.ids)
        return replace(carried, ids=ids), newborn

    def _costs(self, layer: LayerPrediction, count: int, objects: Objects) -> Tensor:
        rows = zip(layer.logits[:, :count], layer.boxes[:, :count], objects.labels, objects.boxes, strict=True)
        return torch.stack([matching_cost(*row, weights=self.cost_weights) for row in rows])

    def _layer(self, index: int, output: FrameOutput, assignment: Assignment, objects: Objects) -> Losses:
        layer, ignored = output.layers[index], output.padding
        if index < self.merge_layer and not self.supervise_passive_tracks:
            is_track = torch.arange(ignored.shape[1], device=ignored.device) >= output.num_detect
            ignored = ignored | is_track
        matched = assignment.layers[index]
        return set_losses(layer.logits, layer.boxes, matched, ignored, objects, self.average_classes)

    def _aids(self, output: FrameOutput, objects: Objects) -> Losses | None:
        """Return the losses of what exists in training only."""
        parts = []
        if output.aids.proposals is not None:
            parts.append(proposal_losses(output.aids.proposals, objects))
        if output.aids.noised is not None:
            noised = output.aids.noised
            scale = 1 / (int(noised.group.max()) + 1)
            for layer in output.aids.denoised:
                losses = set_losses(
                    layer.logits, layer.boxes, noised.objects, noised.padding, objects, self.average_classes
                )
                parts.append(losses.scaled(scale))
        return sum(parts[1:], start=parts[0]) if parts else None

    def _augmented(self, seen: TrackState, detections: TrackSlots) -> tuple[Tensor, Tensor]:
        """Choose with MOTR's augmentation: good tracks only, some dropped, some with a false positive beside them."""
        keep = seen.valid & (seen.ids >= 0) & (seen.iou > MIN_IOU)
        born = (detections.ids >= 0) & (detections.iou > MIN_IOU)
        keep = keep & (torch.rand_like(seen.iou) >= self.drop_rate)
        born = born & (torch.rand_like(detections.iou) >= self.drop_rate)
        chosen = torch.cat([keep, born], dim=1)
        chosen = chosen & (torch.rand(chosen.shape, device=chosen.device) < self.insert_rate)
        unmatched = detections.ids < 0
        overlap = pairwise_iou(torch.cat([seen.boxes, detections.boxes], dim=1), detections.boxes)
        best = F.one_hot(overlap.masked_fill(~unmatched[:, None], -1).argmax(dim=2), overlap.shape[2]).bool()
        inserted = (best & chosen[..., None]).any(dim=1)
        few = unmatched.sum(dim=1) <= chosen.sum(dim=1)  # no more than wanted: all of them
        return keep, born | (unmatched & (inserted | few[:, None]))


def clip_loss(
    model: Memotr, criterion: ClipCriterion, clip: ClipBatch, num_objects: Float[Tensor, ""] | float | None = None
) -> tuple[Float[Tensor, ""], list[FrameLosses], TrackState]:
    """Run the network over a clip, carrying the tracks, and return the loss, its parts and the last state.

    Args:
        model: network in training mode.
        criterion: assignment and losses.
        clip: frames and ground truth.
        num_objects: normaliser; None: the number of objects in the clip.
    """
    tracks = model.init_tracks(len(clip.images))
    losses = []
    for index, targets in enumerate(clip.targets):
        output = model(clip.images[:, index], clip.padding, tracks, targets)
        frame, assignment, objects = criterion.frame(output, tracks, targets)
        losses.append(frame)
        seen, detections = criterion.label(*model.observe(tracks, output), assignment, objects)
        carried, newborn = criterion.carry(seen, detections)
        tracks = model.track_memory(model.track_memory.start(carried, newborn))
    if num_objects is None:
        num_objects = float(sum(len(target.ids) for frame in clip.targets for target in frame))
    # The memory after the last frame has no loss; with weight 0 every parameter still takes part in a single frame.
    return criterion.total(losses, num_objects) + 0.0 * tracks.query.sum(), losses, tracks


def _is_held(matched: Tensor, seen: TrackState) -> Tensor:
    """Return which detections are of an object that a track already covers."""
    held = torch.where(seen.valid & (seen.iou >= MIN_IOU), seen.matched, -1)
    return (matched >= 0) & (matched[:, :, None] == held[:, None]).any(dim=2)


def _matched_first(detections: TrackSlots) -> TrackSlots:
    """Return the detections with those of an object in front: the order in which the official code appends them."""
    return detections.take((detections.ids < 0).long().argsort(dim=1, stable=True))
