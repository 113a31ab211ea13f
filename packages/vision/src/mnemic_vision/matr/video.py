"""Online localization from pixels: frames of a video in, finished actions out."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mnemic_core.errors import UserError
from mnemic_core.report import MemoryReport
from mnemic_core.session import Session
from mnemic_vision.frame_features import FeatureExtractor
from mnemic_vision.matr.actions import DetectedAction
from mnemic_vision.matr.inference import OnlineLocalizer
from mnemic_vision.matr.model import Matr
from mnemic_vision.video import Frame


class VideoLocalizer(Session):
    """Finds the actions of a video while it runs.

    Args:
        extractor: turns frames into features.
        localizer: turns features into actions; its clock counts features.

    Attributes:
        extractor: as given.
        localizer: as given.

    Raises:
        UserError: the network takes features of another width.

    Example:
        >>> import numpy as np
        >>> from mnemic_vision.frame_features import ExtractorConfig
        >>> from mnemic_vision.matr import Clock, MatrConfig
        >>> from mnemic_vision.matr.data import InputConfig
        >>> extractor = FeatureExtractor(ExtractorConfig("test_efficientnet", stride=2, size=32))
        >>> config = MatrConfig(modalities=(256,), num_classes=1, dim=8, ffn_dim=8, encoder_heads=2, window=4)
        >>> localizer = OnlineLocalizer(Matr(config), InputConfig(channels=256), ("jump",), Clock(2 / 25))
        >>> video = VideoLocalizer(extractor, localizer)
        >>> [video.push(frame) is None for frame in np.zeros((3, 48, 64, 3), dtype=np.uint8)]
        [False, True, False]
    """

    session_kind = "action localization session of a video"

    def __init__(self, extractor: FeatureExtractor, localizer: OnlineLocalizer) -> None:
        if extractor.dim != localizer.inputs.channels:
            raise UserError(
                f"{extractor.config.backbone} gives {extractor.dim} features, but the network takes "
                f"{localizer.inputs.channels}: use the extractor that made the features of its training"
            )
        self.extractor, self.localizer = extractor, localizer

    def push(self, frame: Frame) -> list[DetectedAction] | None:
        """Return the actions that are known with the next frame; None between features, where nothing is computed.

        Args:
            frame: RGB bytes of any size.
        """
        feature = self.extractor(frame)
        return None if feature is None else self.localizer.push(feature)

    def reset(self) -> None:
        """Begin another video."""
        self.extractor.reset()
        self.localizer.reset()

    def report(self) -> MemoryReport:
        """Return the use of the memory."""
        return self.localizer.report()

    def session_model(self) -> Matr:
        """Return the network that localizes; the settings hold the checksum of the extractor."""
        return self.localizer.model

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of both parts."""
        return {**self.localizer.session_settings(), "extractor": asdict(self.extractor.config)}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both parts."""
        return {"extractor": self.extractor.state_dict(), "localizer": self.localizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a video."""
        self.extractor.load_state_dict(state["extractor"])
        self.localizer.load_state_dict(state["localizer"])
