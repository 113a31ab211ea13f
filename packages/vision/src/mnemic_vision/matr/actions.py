"""Actions in time: annotated ones, and detected ones with the time at which they became known."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """An annotated action.

    Attributes:
        label: name of the class.
        start: seconds from the beginning of the stream.
        end: likewise; not before the start.
    """

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class DetectedAction:
    """An action that a localizer emitted; it is never changed afterwards.

    Attributes:
        label: name of the class.
        score: confidence between 0 and 1.
        start: seconds from the beginning of the stream; may lie before it.
        end: likewise.
        emitted: time of the newest frame that was used, in seconds.

    Example:
        >>> DetectedAction("jump", 0.9, start=1.0, end=2.5, emitted=2.75).delay
        0.25
    """

    label: str
    score: float
    start: float
    end: float
    emitted: float

    @property
    def delay(self) -> float:
        """Seconds from the end of the action until it was emitted."""
        return self.emitted - self.end

    def as_dict(self) -> dict[str, Any]:
        """Return the action as in result files: ActivityNet's fields and the generation time of the official code."""
        return {
            "segment": [self.start, self.end],
            "label": self.label,
            "score": self.score,
            "gentime": self.emitted,
        }
