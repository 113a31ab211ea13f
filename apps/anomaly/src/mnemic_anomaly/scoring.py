"""Running a detector over images: one at a time for results, in batches for speed."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_vision.memmc_mae import Anomalies, AnomalyDetector, prepare
from mnemic_vision.picture_files import Picture


@dataclass(frozen=True)
class ScoredPicture:
    """An image and what was found in it.

    Attributes:
        picture: the image, at its own size.
        found: of this image alone, on the CPU; maps at the size of the network.
        seconds: of computing, its share of the batch.
    """

    picture: Picture
    found: Anomalies
    seconds: float

    @property
    def score(self) -> float:
        """Anomaly of the image."""
        return float(self.found.score[0])

    @property
    def scaled(self) -> float | None:
        """Score between 0 and 1 with the threshold at 0.5."""
        return None if self.found.scaled is None else float(self.found.scaled[0])

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the score is at or above the threshold."""
        return None if self.found.label is None else bool(self.found.label[0])


def score_pictures(
    detector: AnomalyDetector, pictures: Iterable[Picture], batch_size: int = 8
) -> Iterator[ScoredPicture]:
    """Yield the images with what was found in them, in their order; a batch is in memory at a time."""
    remaining = iter(pictures)
    while batch := list(islice(remaining, batch_size)):
        images = prepare_all(detector, batch)
        started = time.perf_counter()
        found = detector.detect(images)
        seconds = (time.perf_counter() - started) / len(batch)
        for place, picture in enumerate(batch):
            yield ScoredPicture(picture, _only(found, place), seconds)


def prepare_all(detector: AnomalyDetector, pictures: list[Picture]) -> Float[Tensor, "batch channel height width"]:
    """Return images as the network takes them."""
    config = detector.model.config
    return torch.stack([prepare(each.pixels, config.image_size, config.channels) for each in pictures])


def _only(found: Anomalies, place: int) -> Anomalies:
    parts: dict[str, Any] = {
        name: None if value is None else value[place : place + 1].cpu().contiguous()
        for name, value in vars(found).items()
    }
    return replace(found, **parts)
