"""The pixels of one anomaly map, counted by score: all that pixel metrics need, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from scipy import ndimage

from mnemic_core.errors import UserError

_DROPPED_BITS = 12  # of the 23 of a float32's fraction: levels are 0.05 % apart or less
_EIGHT_NEIGHBORS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of an image by their score, with the ground truth.

    Scores are rounded down to levels, each 0.05 % above the one before or less. A level is the lowest score that is
    rounded to it, so counts of pixels at or above a level are exact. An image of any size has a few thousand levels at
    most, about 100 kB; smaller sets of distinct scores that differ by more than that are counted exactly.

    Attributes:
        key: numbers of the levels, rising; :func:`level_scores` gives the scores.
        normal: normal pixels of each level.
        anomalous: anomalous pixels.
        overlap: sum over the anomalous pixels of 1 / pixels of their region; over all levels at or above a
            threshold, this is the sum over regions of the share that is found.
        regions: connected anomalous regions.
        intersection: anomalous pixels at or above the given threshold; NaN without one.
        union: pixels that are anomalous or at or above the threshold.
    """

    key: Int64[np.ndarray, " level"]
    normal: Int64[np.ndarray, " level"]
    anomalous: Int64[np.ndarray, " level"]
    overlap: Float64[np.ndarray, " level"]
    regions: int
    intersection: float
    union: float

    @classmethod
    def of(
        cls,
        anomaly_map: Float[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
        threshold: float | None = None,
    ) -> "PixelCounts":
        """Count the pixels of an image.

        Args:
            anomaly_map: scores in any range, at the size of the mask (resize the map, not the mask).
            mask: True at anomalous pixels; all False for a normal image. Pixels that touch at a corner are connected.
            threshold: for the intersection over union; scores at or above it are predicted anomalous.

        Raises:
            UserError: for scores that are NaN or infinite.

        Example:
            >>> scores = np.array([[0.5, 0.25], [0.25, 1.0]])
            >>> counts = PixelCounts.of(scores, np.eye(2, dtype=bool))
            >>> level_scores(counts.key).tolist(), counts.anomalous.tolist(), counts.regions
            ([0.25, 0.5, 1.0], [0, 1, 1], 1)
        """
        if not np.isfinite(anomaly_map).all():
            raise UserError("anomaly maps must be finite, got NaN or infinity")
        key, level = np.unique(_keys(anomaly_map), return_inverse=True)
        flat, level = mask.ravel(), level.ravel()
        total = np.bincount(level, minlength=len(key))
        anomalous = np.bincount(level[flat], minlength=len(key))
        weight, regions = _region_weights(mask)
        overlap = np.bincount(level[flat], weight[mask], len(key)).astype(
            np.float64
        )  # integers where none is anomalous
        intersection = union = np.nan
        if threshold is not None:
            predicted = anomaly_map >= threshold
            intersection, union = float((predicted & mask).sum()), float((predicted | mask).sum())
        return cls(key, total - anomalous, anomalous, overlap, regions, intersection, union)


def mean_error_ratio(pixels: Sequence[PixelCounts]) -> float | None:
    """Return the mean score of all anomalous pixels, relative to that of all normal ones; None without both.

    Above 1 if the network reconstructs anomalies worse than what is around them.
    """
    scores, normal, anomalous = (
        np.concatenate(parts) if pixels else np.zeros(0)
        for parts in (
            [level_scores(each.key) for each in pixels],
            [each.normal for each in pixels],
            [each.anomalous for each in pixels],
        )
    )
    if not normal.sum() or not anomalous.sum() or not scores @ normal:
        return None
    return float((scores @ anomalous) / anomalous.sum() * normal.sum() / (scores @ normal))


def level_scores(key: Int64[np.ndarray, " level"]) -> Float64[np.ndarray, " level"]:
    """Return the lowest score of each level."""
    ordered = (key << _DROPPED_BITS).astype(np.int32)
    return _flip_negative(ordered).view(np.float32).astype(np.float64)


def _keys(scores: Float[np.ndarray, "height width"]) -> Int64[np.ndarray, "height width"]:
    """Return numbers of levels in the order of the scores: the upper bits of a float32 are ordered as integers are."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)  # the sum turns -0 into 0
    return _flip_negative(bits).astype(np.int64) >> _DROPPED_BITS


def _flip_negative(bits: Int[np.ndarray, "*level"]) -> Int[np.ndarray, "*level"]:
    flipped: Int[np.ndarray, "*level"] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return flipped


def _region_weights(mask: Bool[np.ndarray, "height width"]) -> tuple[Float64[np.ndarray, "height width"], int]:
    """Return 1 / pixels of its region for every anomalous pixel, and the number of regions."""
    label, regions = ndimage.label(mask, structure=_EIGHT_NEIGHBORS)
    sizes = np.bincount(label.ravel(), minlength=regions + 1)
    weight: Float64[np.ndarray, "height width"] = 1 / np.maximum(sizes, 1)[label]
    return weight, regions
