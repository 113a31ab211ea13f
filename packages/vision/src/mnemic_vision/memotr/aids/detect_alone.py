"""Detection independent of the tracks: every object is detected in every frame, and IoU decides about births.

Not in MeMOTR, whose detect queries learn to leave out tracked objects, which takes far more training. Here a detection
that overlaps a track starts no second one, and a missed track continues with the detection in its place.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.memotr.inference import Thresholds, advance, count_misses, start_tracks, survivors
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, observe
from mnemic_vision.memotr.queries import DetectQueries, Queries
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, overlaps_better

SAME_IOU = 0.5  # boxes with a higher IoU are of one object


class AloneMemotr(Memotr):
    """A network whose detect queries never attend to the track queries."""

    def join_queries(self, detect: DetectQueries, tracks: TrackState) -> Queries:
        """Return the queries ``[detect ; track]``; detect queries may not attend to track queries."""
        queries = super().join_queries(detect, tracks)
        count = queries.query.shape[1]
        allowed = torch.ones(count, count, dtype=torch.bool, device=queries.query.device)
        allowed[: queries.num_detect, queries.num_detect :] = False
        return replace(queries, allowed=allowed)


@advance.register(AloneMemotr)
def advance_alone(model: AloneMemotr, tracks: TrackState, output: FrameOutput, thresholds: Thresholds) -> TrackState:
    """Return the tracks after a frame, as `advance` does, with births and missed tracks decided by IoU."""
    seen, detections = observe(tracks, output)
    confident = detections.confidence >= thresholds.detect
    seen = recover_missed(count_misses(seen, thresholds), detections, confident)
    # Compared with missed tracks too: nothing is born in the place of one.
    kept = seen.compact(survivors(seen, thresholds))
    return start_tracks(model, kept, detections, confident & is_distinct(detections, kept, detections.confidence))


def is_distinct(
    detections: TrackSlots, tracks: TrackSlots, priority: Float[Tensor, "batch query"]
) -> Bool[Tensor, "batch query"]:
    """Return which detections have no IoU above `SAME_IOU` with a track or a detection of higher priority."""
    with_tracks = (pairwise_iou(detections.boxes, tracks.boxes) > SAME_IOU) & tracks.valid[:, None]
    return ~(with_tracks.any(dim=2) | overlaps_better(detections, priority, SAME_IOU))


def recover_missed(tracks: TrackState, detections: TrackSlots, confident: Bool[Tensor, "batch query"]) -> TrackState:
    """Return the tracks; missed ones continue with the detection in their place, if there is one.

    Such a detection is confident, distinct from every seen track and from better detections, of the track's class, and
    has an IoU above `SAME_IOU` with the track. Of several pairs the one with the highest IoU counts.
    """
    missed = tracks.valid & (tracks.missed > 0)
    free = confident & is_distinct(detections, replace(tracks, valid=tracks.valid & ~missed), detections.confidence)
    is_same_class = detections.labels[:, :, None] == tracks.labels[:, None]
    possible = free[:, :, None] & missed[:, None] & is_same_class
    overlap = pairwise_iou(detections.boxes, tracks.boxes) * possible
    best, chosen = overlap.max(dim=1)  # batch track, from batch query track
    # A pair counts only if each is the best of the other: two tracks never share a detection.
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
