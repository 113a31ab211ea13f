"""Predictions that a benchmark does not score, as TrackEval removes them before it counts."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from mnemic_track.overlaps import covered_share, iou_xywh
from mnemic_track.results import MotRows, rows_by_frame
from mnemic_vision.memotr.data import OtherBoxes, OtherKind

_EPSILON = np.finfo(float).eps


def without_shielded(found: MotRows, truth: MotRows, others: OtherBoxes) -> MotRows:
    """Return the predictions that are scored.

    In each frame, predictions are matched to all annotated boxes at an IoU of at least 0.5. Those matched to a
    distractor are removed (MOT16, MOT17, MOT20), and unmatched ones of which more than half lies in a region (crowds of
    BDD100K).

    Args:
        found: predictions.
        truth: objects.
        others: boxes that are not objects.

    Example:
        >>> box = np.array([[0.0, 0, 10, 20]])
        >>> none, found = MotRows.from_table(np.zeros((0, 6))), MotRows(np.array([1]), np.array([5]), box)
        >>> others = OtherBoxes(np.array([0]), box.astype(np.float32), np.array([OtherKind.DISTRACTOR]))
        >>> len(without_shielded(found, none, others).id)
        0
    """
    is_kept = np.ones(len(found.id), dtype=bool)
    numbers = (found.frame, truth.frame, others.frames + 1)  # MOT files count frames from 1
    frames = np.unique(np.concatenate(numbers))
    for rows, objects, here in zip(*(rows_by_frame(each, frames) for each in numbers), strict=True):
        if len(rows) and len(here):
            boxes = found.boxes_xywh[rows], truth.boxes_xywh[objects], others.boxes[here].astype(float)
            is_kept[rows] = _is_scored(*boxes, others.kinds[here])
    return found.select(is_kept)


def _is_scored(
    found: Float[np.ndarray, "track 4"],
    objects: Float[np.ndarray, "object 4"],
    others: Float[np.ndarray, "other 4"],
    kinds: Int[np.ndarray, " other"],
) -> Bool[np.ndarray, " track"]:
    is_region = kinds == OtherKind.REGION
    scores = iou_xywh(np.concatenate([objects, others[~is_region]]), found)
    scores[scores < 0.5 - _EPSILON] = 0
    match_row, match_track = linear_sum_assignment(-scores)
    is_match = scores[match_row, match_track] > 0
    match_row, match_track = match_row[is_match], match_track[is_match]
    is_distractor = np.concatenate([np.zeros(len(objects), dtype=bool), kinds[~is_region] == OtherKind.DISTRACTOR])
    is_scored = np.ones(len(found), dtype=bool)
    is_scored[match_track[is_distractor[match_row]]] = False
    is_unmatched = np.ones(len(found), dtype=bool)
    is_unmatched[match_track] = False
    inside = covered_share(found, others[is_region]) > 0.5 + _EPSILON
    scored: Bool[np.ndarray, " track"] = is_scored & ~(is_unmatched & inside.any(axis=1))
    return scored
