"""Detection that knows nothing of the tracks: every object is found in every frame, and overlap decides on births.

Not in MeMOTR, whose detect queries learn to leave tracked objects alone; that takes far more training. Here a
detection that overlaps a track is not born again, and a missed track continues with the detection in its place.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.memotr.inference import Thresholds, advance, begin_tracks, count_misses, survivors
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, observe
from mnemic_vision.memotr.queries import DetectQueries, Queries
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, overlaps_better

SAME_IOU = 0.5  # boxes that overlap by more are of one object


class AloneMemotr(Memotr):
    """A network whose detect queries never attend to the track queries."""

    def join_queries(self, detect: DetectQueries, tracks: TrackState) -> Queries:
        """Return the queries ``[detect ; track]`` with the detect queries kept from the tracks."""
        queries = super().join_queries(detect, tracks)
        count = queries.query.shape[1]
        allowed = torch.ones(count, count, dtype=torch.bool, device=queries.query.device)
        allowed[: queries.num_detect, queries.num_detect :] = False
        return replace(queries, allowed=allowed)


@advance.register(AloneMemotr)
def advance_alone(model: AloneMemotr, tracks: TrackState, output: FrameOutput, thresholds: Thresholds) -> TrackState:
    """Do what `advance` does, with births and missed tracks decided by overlap."""
    seen, detections = observe(tracks, output)
    certainty = detections.logits.sigmoid().amax(dim=-1)
    sure = certainty >= thresholds.detect
    # A missed track lets nothing be born in its place: what is seen there must be its own.
    seen = find_again(count_misses(seen, thresholds), detections, certainty, sure)
    kept = seen.compact(survivors(seen, thresholds))
    return begin_tracks(model, kept, detections, sure & is_distinct(detections, kept, certainty))


def is_distinct(
    detections: TrackSlots, tracks: TrackSlots, priority: Float[Tensor, "batch query"]
) -> Bool[Tensor, "batch query"]:
    """Return which detections overlap neither a track nor a detection of higher priority, by more than `SAME_IOU`."""
    with_tracks = (pairwise_iou(detections.boxes, tracks.boxes) > SAME_IOU) & tracks.valid[:, None]
    return ~(with_tracks.any(dim=2) | overlaps_better(detections, priority, SAME_IOU))


def find_again(
    tracks: TrackState,
    detections: TrackSlots,
    priority: Float[Tensor, "batch query"],
    sure: Bool[Tensor, "batch query"],
) -> TrackState:
    """Return the tracks; those that were missed continue with the detection in their place, if there is one.

    Such a detection is ``sure``, distinct from every seen track and from better detections, of the track's class, and
    overlaps the track by more than `SAME_IOU`; among several pairs those that overlap most belong together.
    """
    missed = tracks.valid & (tracks.missed > 0)
    free = sure & is_distinct(detections, replace(tracks, valid=tracks.valid & ~missed), priority)
    is_same_class = detections.labels[:, :, None] == tracks.labels[:, None]
    possible = free[:, :, None] & missed[:, None] & is_same_class
    overlap = pairwise_iou(detections.boxes, tracks.boxes) * possible
    best, chosen = overlap.max(dim=1)  # batch track, from batch query track
    # A pair holds only if each is the best of the other: two tracks never share a detection.
    is_mutual = overlap.argmax(dim=2).gather(1, chosen) == torch.arange(chosen.shape[1], device=chosen.device)
    found = is_mutual & (best > SAME_IOU)
    place, mask = detections.take(chosen), found[..., None]
    return replace(
        tracks,
        missed=torch.where(found, 0, tracks.missed),
        output=torch.where(mask, place.output, tracks.output),
        boxes=torch.where(mask, place.boxes, tracks.boxes),
        logits=torch.where(mask, place.logits, tracks.logits),
    )
