"""The scores of a detector on a set of images with ground truth, and resampled sets of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.memmc_mae.metrics.pixel_counts import PixelCounts

_BLOCK = 2_000_000  # numbers of a block of resampled sets: 16 MB


@dataclass(frozen=True)
class ScoredImages:
    """What an evaluation needs of each image.

    Attributes:
        scores: higher is more anomalous, in any range.
        labels: 0 normal, 1 anomalous.
        pixels: counted pixels of each image; None for an image without ground truth.

    Raises:
        UserError: for no image, different numbers of them, another label, or a score that is NaN or infinite.
    """

    scores: Float[np.ndarray, " image"]
    labels: Int64[np.ndarray, " image"]
    pixels: Sequence[PixelCounts | None] = ()

    def __post_init__(self) -> None:
        sizes = {len(self.scores), len(self.labels)} | ({len(self.pixels)} if self.pixels else set())
        if len(sizes) > 1 or not len(self.scores):
            raise UserError(f"each image needs a score and a label, got {len(self.scores)} and {len(self.labels)}")
        if not np.isfinite(self.scores).all():
            raise UserError("scores must be finite, got NaN or infinity")
        if not np.isin(self.labels, (0, 1)).all():
            raise UserError(f"labels must be 0 (normal) or 1 (anomalous), got {sorted(set(self.labels.tolist()))}")

    @property
    def with_masks(self) -> list[int]:
        """Images with ground truth for pixels."""
        return [index for index, each in enumerate(self.pixels) if each is not None]

    @property
    def known_pixels(self) -> list[PixelCounts]:
        """Counted pixels of these images."""
        return [each for each in self.pixels if each is not None]

    @property
    def has_pixel_truth(self) -> bool:
        """Whether there are normal and anomalous pixels."""
        pixels = self.known_pixels
        return any(each.normal.any() for each in pixels) and any(each.anomalous.any() for each in pixels)


def resample(labels: Int64[np.ndarray, " image"], samples: int, seed: int) -> Float64[np.ndarray, "sample image"]:
    """Return how often each image is drawn in each resampled set.

    Normal and anomalous images are drawn separately, each as many as there are, so that every set has both.

    Args:
        labels: of the images.
        samples: resampled sets, 1 or more.
        seed: the same seed draws the same images for every detector.
    """
    check_at_least(1, samples=samples)
    rng = np.random.default_rng(seed)
    times = np.zeros((samples, len(labels)))
    for label in (0, 1):
        chosen = np.flatnonzero(labels == label)
        if len(chosen):
            times[:, chosen] = rng.multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), size=samples)
    return times


def blocks(times: Float64[np.ndarray, "sample image"], levels: int) -> Iterator[Float64[np.ndarray, "_ image"]]:
    """Split resampled sets such that a block has bounded memory for this number of levels."""
    rows = max(1, _BLOCK // max(1, levels))
    return (times[start : start + rows] for start in range(0, len(times), rows))
