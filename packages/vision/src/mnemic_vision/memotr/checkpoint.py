"""Checkpoint of a tracker: weights, network settings, input size and thresholds."""

from dataclasses import dataclass, field
from math import inf

from mnemic_core.checkpoint import Checkpoint
from mnemic_core.errors import UserError, check_range
from mnemic_vision.memotr.appearance import AppearanceSettings
from mnemic_vision.memotr.inference import Thresholds, Tracker
from mnemic_vision.memotr.model import Memotr


@dataclass(frozen=True)
class TrackerSettings:
    """Inference settings of a trained network.

    Args:
        short_side: shorter side of the network's input, pixels.
        long_side: maximum of the longer side, pixels.
        thresholds: when tracks are born, missed, reported and deleted.
        classes: name of each class.
        appearance: memory of how tracks look; None: without.
    """

    short_side: int = 800
    long_side: int = 1536
    thresholds: Thresholds = field(default_factory=Thresholds)
    classes: tuple[str, ...] = ("object",)
    appearance: AppearanceSettings | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "short_side", "long_side")
        if not self.classes:
            raise UserError("classes must name at least one class, got none")


@dataclass(frozen=True)
class TrackerCheckpoint(Checkpoint[Memotr, TrackerSettings], kind="memotr"):
    """A trained MeMOTR network with the settings of its tracker.

    Example:
        >>> tracker = TrackerCheckpoint.load("memotr.safetensors").tracker()  # doctest: +SKIP
    """

    def tracker(self, *, use_bf16: bool = False) -> Tracker:
        """Return a tracker that runs the network with the settings."""
        settings = self.settings
        sides = settings.short_side, settings.long_side
        return Tracker(self.model, settings.thresholds, *sides, use_bf16, settings.appearance)
