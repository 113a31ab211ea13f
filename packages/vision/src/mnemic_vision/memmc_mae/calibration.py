"""Thresholds of a detector, and scores scaled such that they are at 0.5."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError

ThresholdRule = Literal["quantile", "f1"]

_LEAST_WIDTH = 1e-30  # of a piece that has none: scores beyond the threshold are at its end
_BELOW_HALF = 0.5 - 2**-25  # the next smaller float32


@dataclass(frozen=True)
class ScoreScale:
    """A threshold, and the two straight pieces that map ``low``, ``threshold`` and ``high`` to 0, 0.5 and 1.

    Scores beyond the ends are at 0 or 1. A scaled score is at least 0.5 if and only if the score is at least the
    threshold.

    Args:
        low: score that is scaled to 0.
        threshold: scores at or above it are anomalous.
        high: score that is scaled to 1.
        rule: how the threshold was chosen.

    Raises:
        UserError: for numbers that do not rise or are not finite.

    Example:
        >>> ScoreScale(1.0, 2.0, 4.0).scale(torch.tensor([0.0, 1.5, 2.0, 3.0, 9.0])).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    low: float
    threshold: float
    high: float
    rule: ThresholdRule = "quantile"

    def __post_init__(self) -> None:
        numbers = (self.low, self.threshold, self.high)
        if not all(map(isfinite, numbers)) or not self.low <= self.threshold <= self.high:
            raise UserError(f"a scale needs finite low <= threshold <= high, got {', '.join(map(str, numbers))}")

    def is_anomalous(self, scores: Float[Tensor, "*score"]) -> Bool[Tensor, "*score"]:
        """Return True at scores at or above the threshold."""
        return scores >= self.threshold

    def scale(self, scores: Float[Tensor, "*score"]) -> Float[Tensor, "*score"]:
        """Return the scores between 0 and 1, with the threshold at 0.5."""
        below = 0.5 * (scores - self.low) / max(self.threshold - self.low, _LEAST_WIDTH)
        above = 0.5 + 0.5 * (scores - self.threshold) / max(self.high - self.threshold, _LEAST_WIDTH)
        return torch.where(self.is_anomalous(scores), above.clamp(0.5, 1.0), below.clamp(0.0, _BELOW_HALF))


@dataclass(frozen=True)
class Calibration:
    """The scales of a detector; plain numbers, which a checkpoint holds.

    Args:
        image: of image scores.
        pixel: of anomaly maps; None if there were none.
    """

    image: ScoreScale
    pixel: ScoreScale | None = None
