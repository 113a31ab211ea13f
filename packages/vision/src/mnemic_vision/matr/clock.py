"""When the frames of a stream are."""

from dataclasses import dataclass

from mnemic_core.errors import check_at_least
from mnemic_vision.matr.data.stream import ActionStream


@dataclass(frozen=True)
class Clock:
    """When the frames of a stream are.

    Args:
        frame_time: seconds per frame.
        offset: time of the first frame, in seconds.
        lookahead: seconds after its time at which a frame can be known; added to the time of emission.
    """

    frame_time: float
    offset: float = 0.0
    lookahead: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(1e-6, frame_time=self.frame_time)
        check_at_least(0, lookahead=self.lookahead)

    @classmethod
    def of(cls, stream: ActionStream, every: int = 1) -> "Clock":
        """Return the clock of a stream of which every N-th frame is used."""
        return cls(every * stream.frame_time, stream.offset, stream.lookahead)

    def time(self, frame: int) -> float:
        """Return the time of a frame, counted from 0, in seconds."""
        return self.offset + frame * self.frame_time
