"""Baselines for evaluation: distances to normal images and patches in the features of a frozen network."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_anomaly.evaluation import as_labels
from mnemic_anomaly.images import PreparedImages
from mnemic_anomaly.records import count_pixels
from mnemic_vision.memmc_mae import (
    DetectorCheckpoint,
    FrozenFeatures,
    NearestNeighbors,
    NearestPatches,
    ScoredImages,
    ScoreRule,
    patch_map,
)
from mnemic_vision.memmc_mae.data import ImageSample, training_normals
from mnemic_vision.memmc_mae.targets import FeatureTarget

_BATCH = 32
_SIDE = 224  # to which images are resized for the frozen network, and side of the maps


def neighbor_scores(
    features: FrozenFeatures, samples: Sequence[ImageSample], chosen: Sequence[ImageSample]
) -> tuple[ScoredImages, float]:
    """Return the distances of images to their nearest normal training images, and the seconds of computing.

    Args:
        features: of a frozen network.
        samples: of the data set, with training images.
        chosen: images to score.

    Raises:
        UserError: there is no normal training image.
    """
    baseline = NearestNeighbors.fit(map(features.pooled, _batches(training_normals(samples))))
    started = time.perf_counter()
    scores = torch.cat([baseline.score(features.pooled(images)) for images in _batches(chosen)])
    seconds = time.perf_counter() - started
    return ScoredImages(scores.double().numpy(), as_labels(chosen)), seconds


def patch_scores(
    features: FrozenFeatures, samples: Sequence[ImageSample], chosen: Sequence[ImageSample]
) -> tuple[ScoredImages, float]:
    """Return what distances to the nearest normal patches find in images, and the seconds of computing.

    Args:
        features: of a frozen network.
        samples: of the data set, with training images.
        chosen: images to score, by the largest value of their map.

    Raises:
        UserError: there is no normal training image.
    """
    normals = training_normals(samples)
    baseline = NearestPatches.fit(map(features.patches, _batches(normals)), len(normals))
    scores, pixels, seconds, waiting = [], [], 0.0, iter(chosen)
    for images in _batches(chosen):
        started = time.perf_counter()
        maps = patch_map(baseline.distances(features.patches(images)), ScoreRule("max"), (_SIDE, _SIDE))
        seconds += time.perf_counter() - started
        scores += maps.flatten(1).amax(1).tolist()
        pixels += [
            count_pixels(each, sample.load_mask(), sample.label) for each, sample in zip(maps, waiting, strict=False)
        ]
    return ScoredImages(np.array(scores, dtype=np.float64), as_labels(chosen), pixels), seconds


def find_features(checkpoint: DetectorCheckpoint, weights: Path | None) -> FrozenFeatures | None:
    """Return the features for nearest neighbors: of a weights file, or of the frozen network in a checkpoint."""
    if weights is not None:
        return FrozenFeatures.from_weights(weights)
    target = checkpoint.model.target
    return FrozenFeatures(target) if isinstance(target, FeatureTarget) else None


def _batches(samples: Sequence[ImageSample]) -> Iterator[Float[Tensor, "batch 3 height width"]]:
    images = PreparedImages(samples, _SIDE, 3, in_memory=False)
    return (batch.images for batch in images.batches(_BATCH))
