"""The detector that users call: images in, scores, maps and labels out."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.calibration import Calibration
from mnemic_vision.memmc_mae.draws import DrawRule
from mnemic_vision.memmc_mae.error_statistics import ErrorStatistics
from mnemic_vision.memmc_mae.model import MemMcMae
from mnemic_vision.memmc_mae.scoring import Scored, ScoreRule, score_features, score_pixels
from mnemic_vision.memmc_mae.targets import PixelTarget


@dataclass(frozen=True)
class DetectorSettings:
    """How a trained network scores images.

    Args:
        draws: masks of an image.
        score: from reconstructions to map and score; ``ms_ssim`` is for pixels only.
    """

    draws: DrawRule = field(default_factory=DrawRule)
    score: ScoreRule = field(default_factory=ScoreRule)


class Reconstruction(NamedTuple):
    """Images and what the network made of them, as patches.

    Attributes:
        target: of the images.
        predicted: of each draw.
        masked: True at patches that the encoder did not see in a draw.
    """

    target: Float[Tensor, "batch patch value"]
    predicted: Float[Tensor, "batch draw patch value"]
    masked: Bool[Tensor, "batch draw patch"]


@dataclass(frozen=True)
class Anomalies:
    """What a detector finds in images; higher is more anomalous.

    Attributes:
        score: of each image.
        map: at each pixel of the network's size.
        reconstruction: mean over the draws, in [0, 1]; None where features are reconstructed.
        scaled: score between 0 and 1 with the threshold at 0.5; None without calibration.
        scaled_map: likewise at each pixel.
        label: True for an anomalous image; None without calibration.
        mask: True at anomalous pixels; None without calibration.
    """

    score: Float[Tensor, " batch"]
    map: Float[Tensor, "batch height width"]
    reconstruction: Float[Tensor, "batch channel height width"] | None = None
    scaled: Float[Tensor, " batch"] | None = None
    scaled_map: Float[Tensor, "batch height width"] | None = None
    label: Bool[Tensor, " batch"] | None = None
    mask: Bool[Tensor, "batch height width"] | None = None


class AnomalyDetector:
    """Scores images with a trained network; the result of an image does not depend on its batch.

    Args:
        model: the network, which is set to evaluation.
        settings: masks and score.
        calibration: thresholds; None: scores and maps without labels.
        statistics: of the errors of normal images, to standardize maps by; None: maps are as they are.

    Raises:
        UserError: the score or the draws do not fit the network.

    Example:
        >>> from mnemic_vision.memmc_mae import MemMcMaeConfig
        >>> config = MemMcMaeConfig(image_size=64, patch_size=8, dim=8, depth=1, num_heads=2, decoder_dim=8,
        ...     decoder_depth=1, decoder_heads=2)
        >>> AnomalyDetector(MemMcMae(config)).detect(torch.rand(2, 3, 64, 64)).map.shape
        torch.Size([2, 64, 64])
    """

    def __init__(
        self,
        model: MemMcMae,
        settings: DetectorSettings = DetectorSettings(),
        calibration: Calibration | None = None,
        statistics: ErrorStatistics | None = None,
    ) -> None:
        self.model, self.settings, self.calibration = model.eval(), settings, calibration
        self.statistics = statistics
        if model.config.features is not None:
            settings.score.check_features()
        self.draws = settings.draws.make(model.config)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.positions.device

    @property
    def pixel_threshold(self) -> float | None:
        """Anomaly at or above which a pixel is anomalous; None without calibration."""
        pixel = None if self.calibration is None else self.calibration.pixel
        return None if pixel is None else pixel.threshold

    @torch.no_grad()
    def detect(self, images: Float[Tensor, "batch channel height width"]) -> Anomalies:
        """Score images that `prepare` made for the network.

        Raises:
            UserError: they have another size or other channels than the network was trained on.
        """
        made = self.reconstruct(images)
        scored = self.score(images, made)
        target = self.model.target
        shown = target.images(made.predicted.mean(1)) if isinstance(target, PixelTarget) else None
        return self._calibrate(scored, shown)

    @torch.no_grad()
    def reconstruct(self, images: Float[Tensor, "batch channel height width"]) -> Reconstruction:
        """Return the patches of images and their reconstructions."""
        config = self.model.config
        expected = (config.channels, config.image_size, config.image_size)
        if tuple(images.shape[1:]) != expected:
            given = "x".join(map(str, images.shape[1:]))
            raise UserError(f"the network takes images of {'x'.join(map(str, expected))}, got {given}: use prepare")
        target = self.model.target(images.to(self.device))
        predicted = self.draws.reconstruct(self.model, target)
        masked = self.draws.masked.to(self.device).expand(images.shape[0], -1, -1)
        return Reconstruction(target, predicted, masked)

    @torch.no_grad()
    def score(self, images: Float[Tensor, "batch channel height width"], made: Reconstruction) -> Scored:
        """Return map and score of images from their reconstructions."""
        target, rule = self.model.target, self.settings.score
        if isinstance(target, PixelTarget):
            return score_pixels(
                images.to(self.device), target.images(made.predicted), made.masked, rule, self.statistics
            )
        side = self.model.config.image_size
        return score_features(made.target, made.predicted, made.masked, rule, (side, side), self.statistics)

    def _calibrate(
        self, scored: Scored, reconstruction: Float[Tensor, "batch channel height width"] | None
    ) -> Anomalies:
        if self.calibration is None:
            return Anomalies(scored.score, scored.map, reconstruction)
        image, pixel = self.calibration.image, self.calibration.pixel
        return Anomalies(
            scored.score,
            scored.map,
            reconstruction,
            scaled=image.scale(scored.score),
            scaled_map=None if pixel is None else pixel.scale(scored.map),
            label=image.is_anomalous(scored.score),
            mask=None if pixel is None else pixel.is_anomalous(scored.map),
        )
