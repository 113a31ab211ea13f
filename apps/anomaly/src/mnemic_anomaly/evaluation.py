"""Scoring a detector on labeled images, or on normal ones with pasted lesions."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from mnemic_anomaly.checkpoints import NUM_COMPARED
from mnemic_anomaly.overlay import thumbnail
from mnemic_anomaly.page import Entry
from mnemic_anomaly.records import count_pixels
from mnemic_anomaly.scoring import ScoredPicture, score_pictures
from mnemic_core.errors import UserError
from mnemic_kit.problems import Problems
from mnemic_vision.memmc_mae import (
    AnomalyDetector,
    PixelCounts,
    ScoredImages,
)
from mnemic_vision.memmc_mae.data import ImageSample, LesionSettings, with_lesions
from mnemic_vision.picture_files import Picture

ALL = "all"


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
        return ScoredImages(np.array(self.scores, dtype=np.float64), as_labels(self.samples), self.pixels)


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
        result.pixels.append(count_pixels(scored.found.map[0], mask, sample.label, detector.pixel_threshold))
        result.seconds += scored.seconds
        if draws:
            result.entries.append(_entry(scored, sample))
    return result


def as_labels(samples: Sequence[ImageSample]) -> Int64[np.ndarray, " image"]:
    """Return the labels of images."""
    return np.array([sample.label for sample in samples], dtype=np.int64)


def _entry(scored: ScoredPicture, sample: ImageSample) -> Entry:
    return Entry(sample.name, scored.score, scored.scaled, scored.is_anomalous, thumbnail(scored), sample.label)
