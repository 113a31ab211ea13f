"""Which prediction finds which annotated action."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemic_vision.matr.metrics.instances import ClassInstances


@dataclass(frozen=True)
class ClassMatches:
    """The predictions of one class and the annotated actions that they find.

    Attributes:
        instances: the actions.
        found: index of the annotated action at each tIoU threshold; -1 for a false positive.
    """

    instances: ClassInstances
    found: Int[np.ndarray, "threshold prediction"]

    @property
    def is_hit(self) -> Bool[np.ndarray, "threshold prediction"]:
        """True positives."""
        hits: Bool[np.ndarray, "threshold prediction"] = self.found >= 0
        return hits

    @property
    def delay(self) -> Float[np.ndarray, "threshold prediction"]:
        """Seconds from the annotated end until the prediction was emitted; infinite for false positives."""
        ends = self.instances.truths[:, 1][self.found]
        return np.where(self.is_hit, self.instances.emitted - ends, np.inf)


def temporal_iou(
    first: Float[np.ndarray, "first 2"], second: Float[np.ndarray, "second 2"]
) -> Float[np.ndarray, "first second"]:
    """Return the intersection over union of every pair of segments (start, end); 0 where one is empty.

    Example:
        >>> temporal_iou(np.array([[0.0, 7.0]]), np.array([[0.0, 10.0], [7.0, 9.0]])).tolist()
        [[0.7, 0.0]]
    """
    overlap = np.minimum(first[:, None, 1], second[:, 1]) - np.maximum(first[:, None, 0], second[:, 0])
    overlap = overlap.clip(min=0)
    union = (second[:, 1] - second[:, 0]) + (first[:, 1] - first[:, 0])[:, None] - overlap
    iou: Float[np.ndarray, "first second"] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def match_class(instances: ClassInstances, thresholds: Sequence[int | float]) -> ClassMatches:
    """Match predictions, the best score first, each with the free action of its video that it overlaps most.

    As in the evaluators of ActivityNet and OpenTAD, a prediction is a true positive if that tIoU is at least the
    threshold. Of two actions that it overlaps alike, it takes the later one, as these do with annotations in the order
    of time.
    """
    found = np.full((len(thresholds), len(instances.score)), -1)
    order = np.lexsort((instances.truths[:, 1], instances.truths[:, 0]))[::-1]  # argmax takes the first of equal ones
    for video in np.intersect1d(instances.truth_video, instances.video):
        columns = order[instances.truth_video[order] == video]
        rows = np.flatnonzero(instances.video == video)
        overlap = temporal_iou(instances.segments[rows], instances.truths[columns])
        matches = _match_video(overlap, np.asarray(thresholds, dtype=np.float64))
        found[:, rows] = np.where(matches >= 0, columns[matches], -1)
    return ClassMatches(instances, found)


def _match_video(
    overlap: Float[np.ndarray, "prediction truth"], thresholds: Float[np.ndarray, " threshold"]
) -> Int[np.ndarray, "threshold prediction"]:
    found = np.full((len(thresholds), len(overlap)), -1)
    free = np.ones((len(thresholds), overlap.shape[1]), dtype=bool)
    every = np.arange(len(thresholds))
    for row in np.flatnonzero(overlap.max(axis=1) >= thresholds.min()):  # the others match at no threshold
        candidates = np.where(free, overlap[row], -1.0)
        best = candidates.argmax(axis=1)
        is_hit = candidates[every, best] >= thresholds
        found[is_hit, row] = best[is_hit]
        free[every[is_hit], best[is_hit]] = False
    return found
