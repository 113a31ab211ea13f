"""A baseline: given detections, linked by overlap alone."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from mnemic_track.overlaps import iou_xywh
from mnemic_track.results import MotRows


def track_by_overlap(detections: MotRows, *, min_iou: float = 0.2, patience: int = 15) -> MotRows:
    """Link the boxes of each frame one to one to the last boxes of the tracks, with the largest sum of overlaps.

    It uses no appearance, no motion and no memory beyond the last box.

    Args:
        detections: boxes of one sequence in any order; their ids are ignored.
        min_iou: a pair is linked only when its overlap is above this.
        patience: consecutive misses that a track survives.

    Returns:
        The same boxes, ordered by frame, with ids counted from 1.

    Example:
        >>> boxes = np.array([[0.0, 0, 10, 10], [50.0, 0, 10, 10], [52.0, 0, 10, 10], [1.0, 0, 10, 10]])
        >>> track_by_overlap(MotRows(np.array([1, 1, 2, 2]), np.full(4, -1), boxes)).id
        array([1, 2, 2, 1])
    """
    order = np.argsort(detections.frame, kind="stable")  # rows of a frame keep their order
    frames, boxes = detections.frame[order], detections.boxes_xywh[order]
    ids = np.zeros_like(frames)
    track_boxes, track_ids, last_seen = np.zeros((0, 4)), np.zeros(0, dtype=ids.dtype), np.zeros(0, dtype=frames.dtype)
    for frame in np.unique(frames):
        alive = frame - last_seen <= patience + 1  # frames without any detection count as well
        track_boxes, track_ids, last_seen = track_boxes[alive], track_ids[alive], last_seen[alive]
        rows = np.flatnonzero(frames == frame)
        overlap = iou_xywh(track_boxes, boxes[rows])
        tracks, linked = linear_sum_assignment(overlap, maximize=True)
        close = overlap[tracks, linked] > min_iou
        tracks, linked = tracks[close], rows[linked[close]]
        ids[linked] = track_ids[tracks]
        born = rows[ids[rows] == 0]
        # Identities are never reused.
        ids[born] = ids.max(initial=0) + 1 + np.arange(len(born))
        track_boxes[tracks], last_seen[tracks] = boxes[linked], frame
        track_boxes = np.concatenate([track_boxes, boxes[born]])
        track_ids = np.concatenate([track_ids, ids[born]])
        last_seen = np.concatenate([last_seen, frames[born]])
    return MotRows(frames, ids, boxes)
