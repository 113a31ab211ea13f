"""Checkpoint of a detector: weights, network and score settings, thresholds, and what its training images look like."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnemic_core.checkpoint import Checkpoint
from mnemic_core.deserialize import deserialize
from mnemic_vision.memmc_mae.calibration import Calibration
from mnemic_vision.memmc_mae.detector import AnomalyDetector, DetectorSettings
from mnemic_vision.memmc_mae.domain import ImageDomain
from mnemic_vision.memmc_mae.error_statistics import ErrorStatistics
from mnemic_vision.memmc_mae.model import MemMcMae


@dataclass(frozen=True)
class DetectorCheckpoint(Checkpoint[MemMcMae, DetectorSettings], kind="memmc_mae"):
    """A trained network with everything that a detector needs.

    Attributes:
        calibration: thresholds from validation images; None before the first validation.
        domain: what the training images look like; None if that is not known.
        statistics: of the errors of normal images, by which maps are standardized; None: they are not.

    Example:
        >>> detector = DetectorCheckpoint.load("mri.safetensors").detector()  # doctest: +SKIP
    """

    calibration: Calibration | None = None
    domain: ImageDomain | None = None
    statistics: ErrorStatistics | None = None

    def detector(self) -> AnomalyDetector:
        """Return a detector that runs the network with the settings and thresholds."""
        return AnomalyDetector(self.model, self.settings, self.calibration, self.statistics)

    def describe_parts(self) -> dict[str, Any]:
        """Return thresholds, domain and statistics as plain values."""
        return {
            "calibration": self.calibration and asdict(self.calibration),
            "domain": self.domain and asdict(self.domain),
            "statistics": self.statistics and asdict(self.statistics),
        }

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return thresholds, domain and statistics."""
        return {
            "calibration": deserialize(Calibration | None, header.get("calibration"), source, "calibration"),
            "domain": deserialize(ImageDomain | None, header.get("domain"), source, "domain"),
            "statistics": deserialize(ErrorStatistics | None, header.get("statistics"), source, "statistics"),
        }
