"""Figures of ranking from how many positives and negatives are at or above each score, for many sets at once.

Equal scores are one point of every curve: no threshold separates them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

_RECALL = 0.95
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Counts:
    """Positives and negatives at or above each of the distinct scores, the highest score first.

    Attributes:
        positives: of each set; the last column holds all.
        negatives: likewise.
    """

    positives: Float64[np.ndarray, "set level"]
    negatives: Float64[np.ndarray, "set level"]

    @property
    def recall(self) -> Float64[np.ndarray, "set level"]:
        """Share of the positives; NaN in a set without."""
        return _share(self.positives, self.positives[:, -1:])

    @property
    def false_positive_rate(self) -> Float64[np.ndarray, "set level"]:
        """Share of the negatives; NaN in a set without."""
        return _share(self.negatives, self.negatives[:, -1:])

    @property
    def precision(self) -> Float64[np.ndarray, "set level"]:
        """Positives among those at or above the score; NaN where there are none."""
        return _share(self.positives, self.positives + self.negatives)

    @property
    def f1(self) -> Float64[np.ndarray, "set level"]:
        """Harmonic mean of precision and recall; NaN in a set without positives."""
        every = self.positives[:, -1:]
        return _share(2 * self.positives, np.where(every > 0, self.positives + self.negatives + every, 0.0))


def area_under(
    horizontal: Float[np.ndarray, "set level"], vertical: Float[np.ndarray, "set level"], limit: float = 1.0
) -> Float64[np.ndarray, " set"]:
    """Return the mean height of curves from (0, 0), up to a limit on the horizontal axis, by trapezoids.

    Example:
        >>> area_under(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]])).tolist()
        [1.0]
    """
    horizontal, vertical = (np.pad(each, ((0, 0), (1, 0))) for each in (horizontal, vertical))
    left, right = horizontal[:, :-1], horizontal[:, 1:]
    width = np.minimum(right, limit) - np.minimum(left, limit)
    slope = _share(np.diff(vertical, axis=1), right - left)
    mean_height = vertical[:, :-1] + np.where(width > 0, slope * width / 2, 0.0)
    area: Float64[np.ndarray, " set"] = (width * mean_height).sum(axis=1)
    return area / limit


def auroc(counts: Counts) -> Float64[np.ndarray, " set"]:
    """Return the area under the ROC curve."""
    return area_under(counts.false_positive_rate, counts.recall)


def average_precision(counts: Counts) -> Float64[np.ndarray, " set"]:
    """Return the sum of precisions weighted by the steps of recall, without interpolation, as scikit-learn does."""
    steps = np.diff(counts.recall, axis=1, prepend=0.0)
    area: Float64[np.ndarray, " set"] = (steps * np.nan_to_num(counts.precision)).sum(axis=1)
    return area


def fpr_at_recall(counts: Counts) -> Float64[np.ndarray, " set"]:
    """Return the false-positive rate at the highest threshold that finds 95 % of the positives."""
    first = (counts.recall >= _RECALL - _ROUNDING).argmax(axis=1)
    rate: Float64[np.ndarray, "set 1"] = np.take_along_axis(counts.false_positive_rate, first[:, None], axis=1)
    return rate[:, 0]


def best_threshold(counts: Counts, scores: Float[np.ndarray, " level"]) -> float:
    """Return the highest threshold with the largest F1 of the first set; scores at or above it are positive."""
    return float(scores[counts.f1[0].argmax()])


def _share(
    part: Float[np.ndarray, "set level"], whole: Float[np.ndarray, "set #level"]
) -> Float64[np.ndarray, "set level"]:
    share: Float64[np.ndarray, "set level"] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return share
