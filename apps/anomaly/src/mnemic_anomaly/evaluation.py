"""Scoring a detector on labeled images, with baselines on the same images."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mnemic_anomaly.checkpoints import NUM_COMPARED
from mnemic_anomaly.images import PreparedImages
from mnemic_anomaly.overlay import thumbnail
from mnemic_anomaly.page import Entry
from mnemic_anomaly.records import count_pixels
from mnemic_anomaly.scoring import ScoredPicture, score_pictures
from mnemic_core.errors import UserError
from mnemic_kit.problems import Problems
from mnemic_vision.memmc_mae import (
    AnomalyDetector,
    DetectorCheckpoint,
    FrozenFeatures,
    NearestNeighbors,
    NearestPatches,
    PixelCounts,
    ScoredImages,
    ScoreRule,
    patch_map,
)
from mnemic_vision.memmc_mae.data import ImageSample, LesionSettings, training_normals, with_lesions
from mnemic_vision.memmc_mae.targets import FeatureTarget
from mnemic_vision.picture_files import Picture

_BATCH = 32
ALL = "all"
NEIGHBOR_SIDE = 224  # of images for the frozen network of nearest neighbors


@dataclass
class Evaluation:
    """What a detector found in labeled images.

    Attributes:
        samples: the images.
        scores: of each.
        pixels: counted pixels of each.
        seconds: of computing.
        entries: for a page; empty where none is written.
    """

    samples: list[ImageSample] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    pixels: list[PixelCounts | None] = field(default_factory=list)
    seconds: float = 0.0
    entries: list[Entry] = field(default_factory=list)

    def scored(self) -> ScoredImages:
        """Return scores, labels and pixels."""
        return ScoredImages(np.array(self.scores, dtype=np.float64), _labels(self.samples), self.pixels)


def choose_images(samples: Sequence[ImageSample], split: str | None) -> list[ImageSample]:
    """Return the labeled images to evaluate.

    Args:
        samples: of a data set.
        split: train, val, test or all; None: test.

    Raises:
        UserError: there are none.
    """
    wanted = split or "test"
    chosen = [sample for sample in samples if sample.label is not None and wanted in {sample.split, ALL}]
    if not chosen:
        parts = sorted({sample.split for sample in samples if sample.label is not None})
        raise UserError(f"no labeled image in part {wanted}; labeled images are in: {', '.join(parts) or 'no part'}")
    return chosen


def paste_lesions(
    samples: Sequence[ImageSample],
    chosen: Sequence[ImageSample],
    number: int,
    settings: LesionSettings = LesionSettings(),
) -> list[ImageSample]:
    """Return the normal images among the chosen ones, each as it is and with several lesions, one at a time.

    Args:
        samples: of the data set, whose training images give pieces.
        chosen: images to evaluate.
        number: lesions of each image.
        settings: of the lesions, whose seeds are counted up from theirs.

    Raises:
        UserError: none of the chosen images is normal.
    """
    normals = [sample for sample in chosen if sample.label == 0]
    if not normals:
        raise UserError("lesions are pasted into normal images, of which this part has none: choose another --split")
    donors = [sample for sample in samples if sample.split == "train" and sample.label == 0] or normals
    made: list[ImageSample] = []
    for place in range(number):
        pairs = with_lesions(normals, donors, replace(settings, seed=settings.seed + place))
        if place == 0:
            made += [sample for sample in pairs if not sample.label]
        made += [replace(sample, name=f"{sample.name}-{place}") for sample in pairs if sample.label]
    return made


def load_some(samples: Sequence[ImageSample]) -> list[torch.Tensor]:
    """Return some of the images, those that can be read, in equal distances."""
    step = max(1, len(samples) // NUM_COMPARED)
    problems, loaded = Problems(), []
    for sample in samples[::step]:
        with problems.collecting():
            loaded.append(sample.load())
    if not loaded:
        problems.end("left out")
    return loaded


def evaluate_images(
    detector: AnomalyDetector, samples: Sequence[ImageSample], problems: Problems, *, draws: bool = False
) -> Evaluation:
    """Return what a detector finds in images; those that cannot be read go to the problems.

    Args:
        detector: to evaluate.
        samples: labeled images.
        problems: collects what cannot be used.
        draws: keep thumbnails for a page.
    """
    result = Evaluation()
    pixel = None if detector.calibration is None else detector.calibration.pixel
    threshold = None if pixel is None else pixel.threshold
    waiting: deque[tuple[ImageSample, Tensor | None]] = deque()  # of the batch that is being scored, with masks

    def loaded() -> Iterator[Picture]:
        for sample in samples:
            with problems.collecting():
                picture = Picture(sample.name, sample.load())
                waiting.append((sample, sample.load_mask()))  # a mask that does not fit is a problem of this image
                yield picture

    for scored in score_pictures(detector, loaded()):
        sample, mask = waiting.popleft()
        result.samples.append(sample)
        result.scores.append(scored.score)
        result.pixels.append(count_pixels(scored.found.map[0], mask, sample.label, threshold))
        result.seconds += scored.seconds
        if draws:
            result.entries.append(_entry(scored, sample))
    return result


def neighbor_scores(
    features: FrozenFeatures, samples: Sequence[ImageSample], chosen: Sequence[ImageSample], size: int
) -> tuple[ScoredImages, float]:
    """Return the distances of images to their nearest normal training images, and the seconds of computing.

    Args:
        features: of a frozen network.
        samples: of the data set, with training images.
        chosen: images to score.
        size: side to which images are resized.

    Raises:
        UserError: there is no normal training image.
    """
    baseline = NearestNeighbors.fit(map(features.pooled, _batches(training_normals(samples), size)))
    started = time.perf_counter()
    scores = torch.cat([baseline.score(features.pooled(images)) for images in _batches(chosen, size)])
    seconds = time.perf_counter() - started
    return ScoredImages(scores.double().numpy(), _labels(chosen)), seconds


def patch_scores(
    features: FrozenFeatures, samples: Sequence[ImageSample], chosen: Sequence[ImageSample], size: int
) -> tuple[ScoredImages, float]:
    """Return what distances to the nearest normal patches find in images, and the seconds of computing.

    Args:
        features: of a frozen network.
        samples: of the data set, with training images.
        chosen: images to score, by the largest value of their map.
        size: side to which images are resized, and of the maps.

    Raises:
        UserError: there is no normal training image.
    """
    normals = training_normals(samples)
    baseline = NearestPatches.fit(map(features.patches, _batches(normals, size)), len(normals))
    scores, pixels, seconds, waiting = [], [], 0.0, iter(chosen)
    for images in _batches(chosen, size):
        started = time.perf_counter()
        maps = patch_map(baseline.distances(features.patches(images)), ScoreRule("max"), (size, size))
        seconds += time.perf_counter() - started
        scores += maps.flatten(1).amax(1).tolist()
        pixels += [
            count_pixels(each, sample.load_mask(), sample.label) for each, sample in zip(maps, waiting, strict=False)
        ]
    return ScoredImages(np.array(scores, dtype=np.float64), _labels(chosen), pixels), seconds


def find_features(checkpoint: DetectorCheckpoint, weights: Path | None) -> FrozenFeatures | None:
    """Return the features for nearest neighbors: of a weights file, or of the frozen network in a checkpoint."""
    if weights is not None:
        return FrozenFeatures.from_weights(weights)
    target = checkpoint.model.target
    return FrozenFeatures(target) if isinstance(target, FeatureTarget) else None


def _batches(samples: Sequence[ImageSample], size: int) -> Iterator[Float[Tensor, "batch 3 height width"]]:
    images = PreparedImages(samples, size, 3, in_memory=False)
    return (images.batch(start, _BATCH).images for start in range(0, len(images), _BATCH))


def _labels(samples: Sequence[ImageSample]) -> Int64[np.ndarray, " image"]:
    return np.array([sample.label for sample in samples], dtype=np.int64)


def _entry(scored: ScoredPicture, sample: ImageSample) -> Entry:
    return Entry(sample.name, scored.score, scored.scaled, scored.is_anomalous, thumbnail(scored), sample.label)
