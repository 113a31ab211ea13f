"""What a localizer saw along a stream, for pictures, in constant memory however long the stream is."""

from dataclasses import dataclass, field

from mnemic_core.errors import UserError


@dataclass(frozen=True)
class Moment:
    """One feature frame of a stream.

    Attributes:
        time: seconds from the beginning of the stream.
        flag: probability that the window before it overlaps an action.
        stored: what the memory holds, such as the number of stored windows or the age of the oldest in seconds.
    """

    time: float
    flag: float
    stored: int | float


@dataclass
class History:
    """Evenly spaced moments of a stream, at most ``limit`` of them.

    When there are too many, neighbors are joined in pairs: the later one, with the higher flag probability of both, so
    that a short action stays visible.

    Attributes:
        limit: most moments that are kept; even.
        moments: the kept ones, oldest first.

    Example:
        >>> history = History(limit=2)
        >>> for second, flag in enumerate([0.1, 0.9, 0.2]):
        ...     history.add(Moment(float(second), flag, stored=0))
        >>> history.moments
        [Moment(time=1.0, flag=0.9, stored=0), Moment(time=2.0, flag=0.2, stored=0)]
    """

    limit: int = 2000
    moments: list[Moment] = field(default_factory=list)
    _per_entry: int = 1
    _in_last: int = 1  # moments in the last entry

    def __post_init__(self) -> None:
        if self.limit < 2 or self.limit % 2:
            raise UserError(f"limit must be an even number of moments, at least 2, got {self.limit}")

    def add(self, moment: Moment) -> None:
        """Add the next moment."""
        if self.moments and self._in_last < self._per_entry:
            self.moments[-1] = _join(self.moments[-1], moment)
            self._in_last += 1
            return
        if len(self.moments) == self.limit:
            self.moments = [_join(*pair) for pair in zip(self.moments[::2], self.moments[1::2], strict=True)]
            self._per_entry *= 2
        self.moments.append(moment)
        self._in_last = 1


def _join(earlier: Moment, later: Moment) -> Moment:
    return Moment(later.time, max(earlier.flag, later.flag), later.stored)
