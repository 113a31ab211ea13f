"""Evaluation of anomaly detection and localization, and the difference between two detectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mnemic_core.errors import UserError
from mnemic_vision.intervals import PairedInterval, paired
from mnemic_vision.memmc_mae.metrics.image_metrics import image_scores, image_values
from mnemic_vision.memmc_mae.metrics.pixel_metrics import pixel_scores, pixel_values
from mnemic_vision.memmc_mae.metrics.scored_images import ScoredImages, resample
from mnemic_vision.memmc_mae.metrics.scores import ImageScores, PixelScores


@dataclass(frozen=True)
class AnomalyScores:
    """The result of an evaluation.

    Attributes:
        image: of image scores.
        pixel: of anomaly maps; None without masks.
    """

    image: ImageScores
    pixel: PixelScores | None

    def as_dict(self) -> dict[str, float | None]:
        """Return all numbers by name, as JSON takes them."""
        return self.image.as_dict() | ({} if self.pixel is None else self.pixel.as_dict())


def evaluate_anomalies(images: ScoredImages, *, samples: int = 1000, seed: int = 0) -> AnomalyScores:
    """Score a detector on images with ground truth.

    Equal scores count together: no threshold separates them. Intervals are percentiles over sets of images drawn with
    replacement, normal and anomalous ones separately.

    Args:
        images: scores, labels and counted pixels of all images, not of a batch.
        samples: resampled sets.
        seed: of the random choice.

    Example:
        >>> images = ScoredImages(np.array([0.1, 0.5, 0.5, 0.5, 0.8, 0.9]), np.array([0, 0, 0, 1, 1, 1]))
        >>> scores = evaluate_anomalies(images).image
        >>> round(scores.f1_max.value, 3), scores.f1_threshold
        (0.8, 0.8)
    """
    return AnomalyScores(image_scores(images, samples, seed), pixel_scores(images, samples, seed))


def anomaly_differences(
    first: Sequence[ScoredImages], second: Sequence[ScoredImages], *, samples: int = 1000, seed: int = 0
) -> dict[str, PairedInterval]:
    """Compare two detectors on the same images, by every figure that is defined for both.

    Both are scored on the same resampled sets, so what makes a set hard or easy cancels. Several runs of a detector,
    such as trainings from different seeds, count by their mean; the interval does not cover the choice of seeds.

    Args:
        first: runs of a detector, each with the images in the same order.
        second: runs of the other.
        samples: resampled sets.
        seed: of the random choice.

    Returns:
        The difference, first minus second, by the names of :meth:`AnomalyScores.as_dict`.

    Raises:
        UserError: a detector without a run, or runs on images with other labels or masks.
    """
    if not first or not second:
        raise UserError(f"each detector needs at least one run, got {len(first)} and {len(second)}")
    runs = [*first, *second]
    if any(run.labels.tolist() != runs[0].labels.tolist() or run.with_masks != runs[0].with_masks for run in runs):
        raise UserError("runs to compare must be on the same images in the same order, got other labels or masks")
    times = np.concatenate([np.ones((1, len(runs[0].labels))), resample(runs[0].labels, samples, seed)])
    own, other = (_mean_values(each, times) for each in (first, second))
    differences = {name: own[name] - other[name] for name in own}
    return {name: paired(float(each[0]), each[1:]) for name, each in differences.items() if np.isfinite(each[0])}


def _mean_values(
    runs: Sequence[ScoredImages], times: Float64[np.ndarray, "sample image"]
) -> dict[str, Float64[np.ndarray, " sample"]]:
    values = []
    for run in runs:
        pixels = pixel_values(run, times[:, run.with_masks]) if run.has_pixel_truth else {}
        values.append(image_values(run, times) | pixels)
    return {name: np.mean([each[name] for each in values], axis=0) for name in values[0]}
