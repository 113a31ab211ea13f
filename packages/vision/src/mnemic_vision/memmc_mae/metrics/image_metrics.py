"""Figures of image scores, on a set and on resampled sets of it."""

import numpy as np
from jaxtyping import Float64
from sklearn.metrics import average_precision_score, roc_auc_score

from mnemic_vision.intervals import interval
from mnemic_vision.memmc_mae.metrics.curves import Counts, auroc, average_precision, best_threshold, fpr_at_recall
from mnemic_vision.memmc_mae.metrics.scored_images import ScoredImages, blocks, resample
from mnemic_vision.memmc_mae.metrics.scores import ImageScores


def image_scores(images: ScoredImages, samples: int, seed: int) -> ImageScores:
    """Return the figures with intervals; see :func:`evaluate_anomalies`."""
    anomalous = int(images.labels.sum())
    normal = len(images.labels) - anomalous
    if not anomalous or not normal:
        return ImageScores(normal, anomalous)
    counts, scores = _count(images, np.ones((1, len(images.labels))))
    values = {  # scikit-learn's functions take one set at a time; ours repeat them for the resampled ones
        "auroc": float(roc_auc_score(images.labels, images.scores)),
        "average_precision": float(average_precision_score(images.labels, images.scores)),
        "f1_max": float(counts.f1.max()),
        "fpr_at_95_tpr": float(fpr_at_recall(counts)[0]),
    }
    resampled = image_values(images, resample(images.labels, samples, seed))
    found = {name: interval(value, resampled[name]) for name, value in values.items()}
    return ImageScores(normal, anomalous, f1_threshold=best_threshold(counts, scores), **found)


def image_values(
    images: ScoredImages, times: Float64[np.ndarray, "sample image"]
) -> dict[str, Float64[np.ndarray, " sample"]]:
    """Return each figure on each resampled set; NaN for a set with one label only."""
    parts = [_values(_count(images, block)[0]) for block in blocks(times, len(images.labels))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _values(counts: Counts) -> dict[str, Float64[np.ndarray, " sample"]]:
    return {
        "auroc": auroc(counts),
        "average_precision": average_precision(counts),
        "f1_max": counts.f1.max(axis=1),
        "fpr_at_95_tpr": fpr_at_recall(counts),
    }


def _count(
    images: ScoredImages, times: Float64[np.ndarray, "sample image"]
) -> tuple[Counts, Float64[np.ndarray, " level"]]:
    """Return counts at each distinct score, and these scores, the highest first."""
    order = np.argsort(-images.scores, kind="stable")
    ordered = images.scores[order].astype(np.float64)
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # of equal scores
    positive, drawn = images.labels[order] == 1, times[:, order]
    positives, negatives = (np.cumsum(drawn * chosen, axis=1)[:, last] for chosen in (positive, ~positive))
    return Counts(positives, negatives), ordered[last]
