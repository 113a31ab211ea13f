"""Checkpoint of a localizer: weights, network settings, inputs and rules."""

from dataclasses import dataclass, field, replace
from math import inf

from mnemic_core.checkpoint import Checkpoint
from mnemic_core.errors import UserError, check_range
from mnemic_vision.frame_features import ExtractorConfig
from mnemic_vision.matr.clock import Clock
from mnemic_vision.matr.data.features import InputConfig
from mnemic_vision.matr.emission import EmissionRule
from mnemic_vision.matr.inference import OnlineLocalizer
from mnemic_vision.matr.model import Matr


@dataclass(frozen=True)
class LocalizerSettings:
    """Inference settings of a trained network.

    Args:
        inputs: what a raw frame consists of.
        classes: name of each class.
        frame_rate: frames per second of the training data, for streams that do not say theirs.
        rule: when an action is emitted.
        extractor: what computes the frames from a video; None for other streams.
    """

    inputs: InputConfig = field(default_factory=InputConfig)
    classes: tuple[str, ...] = ("action",)
    frame_rate: float = 5.0
    rule: EmissionRule = field(default_factory=EmissionRule)
    extractor: ExtractorConfig | None = None

    def __post_init__(self) -> None:
        check_range(self, 1e-3, inf, "frame_rate")
        if not self.classes:
            raise UserError("classes must name at least one class, got none")


@dataclass(frozen=True)
class LocalizerCheckpoint(Checkpoint[Matr, LocalizerSettings], kind="matr"):
    """A trained MATR network with the settings of its localizer.

    Example:
        >>> localizer = LocalizerCheckpoint.load("matr.safetensors").localizer()  # doctest: +SKIP
    """

    def localizer(self, clock: Clock | None = None, *, delay: float | None = None) -> OnlineLocalizer:
        """Return a localizer that runs the network with the settings.

        Args:
            clock: when the frames of the stream are; None: at the frame rate of the training data.
            delay: seconds for which actions are held back for a better one; None: as in the settings.
        """
        settings = self.settings
        rule = settings.rule if delay is None else replace(settings.rule, delay=delay)
        clock = clock or Clock(1 / settings.frame_rate)
        return OnlineLocalizer(self.model, settings.inputs, settings.classes, clock, rule)
