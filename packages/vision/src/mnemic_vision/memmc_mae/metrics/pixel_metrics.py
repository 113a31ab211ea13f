"""Figures of anomaly maps, on a set of images and on resampled sets of it."""

import numpy as np
from jaxtyping import Float64
from sklearn.metrics import roc_auc_score

from mnemic_vision.intervals import interval
from mnemic_vision.memmc_mae.metrics.curves import Counts, area_under, auroc, best_threshold
from mnemic_vision.memmc_mae.metrics.pixel_table import PixelTable, image_table, pooled_table
from mnemic_vision.memmc_mae.metrics.scored_images import ScoredImages, blocks, resample
from mnemic_vision.memmc_mae.metrics.scores import PixelScores

_FPR_LIMIT = 0.3
_RESAMPLED_LEVELS = 1024


def pixel_scores(images: ScoredImages, samples: int, seed: int) -> PixelScores | None:
    """Return the figures with intervals; None without a normal or without an anomalous pixel."""
    if not images.has_pixel_truth:
        return None
    pixels = images.known_pixels
    table = pooled_table(pixels)
    times = resample(images.labels[images.with_masks], samples, seed)
    values, resampled = pixel_point(table), pixel_values(images, times)
    found = {name: interval(value, resampled[name]) for name, value in values.items() if np.isfinite(value)}
    return PixelScores(
        images=len(pixels),
        regions=int(table.regions[0]),
        auroc=found["pixel_auroc"],
        aupro=found["aupro"],
        f1_max=found["pixel_f1_max"],
        f1_threshold=best_threshold(_count(table, np.ones((1, 1))), table.scores),
        best_iou=found["best_iou"],
        iou=found.get("iou"),
    )


def pixel_point(table: PixelTable) -> dict[str, float]:
    """Return each figure on the set as it is, from the table of all images together."""
    values = {name: float(value[0]) for name, value in _values(table, np.ones((1, 1))).items()}
    truth = np.repeat([0, 1], len(table.scores))
    weight = np.concatenate([table.normal[0], table.anomalous[0]])
    auc = roc_auc_score(truth, np.tile(table.scores, 2), sample_weight=weight)  # ours repeats it for resampled sets
    return values | {"pixel_auroc": float(auc)}


def pixel_values(
    images: ScoredImages, times: Float64[np.ndarray, "sample image"]
) -> dict[str, Float64[np.ndarray, " sample"]]:
    """Return each figure on each resampled set of the images with masks; NaN where it is not defined.

    Resampling is linear in the counts of images, so that a set is a product of ``times`` with a table of at most 1024
    levels, which loses a little of the areas; what the whole set loses by it is added to every sample.
    """
    pixels = images.known_pixels
    table = image_table(pixels, _RESAMPLED_LEVELS)
    parts = [_values(table, block) for block in blocks(times, len(table.scores))]
    merged, exact = _values(table, np.ones((1, len(pixels)))), pixel_point(pooled_table(pixels))
    return {name: np.concatenate([each[name] for each in parts]) + exact[name] - merged[name] for name in exact}


def _values(table: PixelTable, times: Float64[np.ndarray, "sample image"]) -> dict[str, Float64[np.ndarray, " sample"]]:
    counts = _count(table, times)
    f1 = counts.f1.max(axis=1)
    regions = times @ table.regions
    with np.errstate(invalid="ignore", divide="ignore"):  # sets without anomalies have NaN
        found = np.cumsum(times @ table.overlap, axis=1) / regions[:, None]
        iou = (times @ table.intersection) / (times @ table.union)
    return {
        "pixel_auroc": auroc(counts),
        "aupro": area_under(counts.false_positive_rate, found, _FPR_LIMIT),
        "pixel_f1_max": f1,
        "best_iou": f1 / (2 - f1),  # both rise with the other, so they have one threshold
        "iou": iou,
    }


def _count(table: PixelTable, times: Float64[np.ndarray, "sample image"]) -> Counts:
    return Counts(np.cumsum(times @ table.anomalous, axis=1), np.cumsum(times @ table.normal, axis=1))
