"""Choice of thresholds from scores of validation images, with or without labeled anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from jaxtyping import Float

from mnemic_core.errors import UserError, check_range
from mnemic_vision.memmc_mae.calibration import Calibration, ScoreScale, ThresholdRule
from mnemic_vision.memmc_mae.metrics.curves import Counts, best_threshold
from mnemic_vision.memmc_mae.metrics.pixel_counts import PixelCounts, level_scores
from mnemic_vision.memmc_mae.metrics.pixel_table import PixelTable, pooled_table
from mnemic_vision.memmc_mae.metrics.scored_images import ScoredImages

_ROUNDING = 1e-9


@dataclass(frozen=True)
class QuantileRule:
    """Which share of normal images and pixels stays below the threshold where no anomalies are labeled.

    Args:
        image: share of the images, 0 to 1.
        pixel: share of the pixels.
    """

    image: float = 0.99
    pixel: float = 0.999

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "image", "pixel")


def fit_calibration(images: ScoredImages, quantiles: QuantileRule = QuantileRule()) -> Calibration:
    """Choose the thresholds from validation images.

    With labeled anomalies, a threshold has the largest F1, the highest of several; for pixels that takes masks. With
    normal images only, F1 says nothing, and a quantile of their scores is taken.

    A threshold below which a share q of *new* normal images is expected takes 1 / (1 - q) - 1 images, 99 for q = 0.99
    (the order statistics of exchangeable scores). With fewer, it is just above the highest score, so that of n images
    about 1 / (n + 1) of the new ones are above it: 5 % for 20 images.

    Scores scaled to 0 and 1 are the lowest and the highest one. Where none is above the threshold, it is in the middle
    between both ends.

    Args:
        images: of the validation part, whose pixels make the pixel threshold; without them it is None.
        quantiles: for normal images only.

    Raises:
        UserError: without normal images.
    """
    normal = images.labels == 0
    if not normal.any():
        raise UserError(f"calibration needs normal images, got {len(normal)} anomalous ones only")
    image = _fit_images(images, quantiles.image)
    pixels = images.known_pixels
    if images.has_pixel_truth:
        return Calibration(image, _fit_masks(pooled_table(pixels)))
    of_normals = [
        each for each, is_normal in zip(images.pixels, normal, strict=False) if each is not None and is_normal
    ]
    return Calibration(image, _fit_normal_pixels(of_normals, quantiles.pixel) if of_normals else None)


def _fit_images(images: ScoredImages, share: float) -> ScoreScale:
    scores = images.scores.astype(np.float64)
    if not images.labels.any():
        descending = np.sort(scores)[::-1]
        highest_below = descending[_num_above(len(scores), share)]
        # Networks compute in float32: the next number of that kind is above the score in both.
        return _scale(scores, float(np.nextafter(np.float32(highest_below), np.float32(np.inf))), "quantile")
    levels, place = np.unique(-scores, return_inverse=True)
    positives, negatives = (np.bincount(place, images.labels == label, len(levels)).cumsum()[None] for label in (1, 0))
    return _scale(scores, best_threshold(Counts(positives, negatives), -levels), "f1")


def _fit_masks(table: PixelTable) -> ScoreScale:
    counts = Counts(table.anomalous.cumsum(axis=1), table.normal.cumsum(axis=1))
    return _scale(table.scores, best_threshold(counts, table.scores), "f1")


def _fit_normal_pixels(pixels: Sequence[PixelCounts], share: float) -> ScoreScale:
    table = pooled_table(pixels)
    at_or_above = (table.normal + table.anomalous)[0].cumsum()
    place = int(np.searchsorted(at_or_above, _num_above(int(at_or_above[-1]), share), side="right"))
    keys = np.unique(np.concatenate([each.key for each in pixels]))[::-1]
    return _scale(table.scores, float(level_scores(keys + 1)[place]), "quantile")


def _num_above(count: int, share: float) -> int:
    """Return how many of the known scores may be at or above the threshold."""
    return min(count - 1, max(0, floor((1 - share) * (count + 1) + _ROUNDING) - 1))


def _scale(scores: Float[np.ndarray, " score"], threshold: float, rule: ThresholdRule) -> ScoreScale:
    low, high = float(min(scores.min(), threshold)), float(scores.max())
    return ScoreScale(low, threshold, high if high > threshold else 2 * threshold - low, rule)
