"""Learning-rate schedule of the paper: cycles of a linear warm-up and a cosine, each lower than the one before."""

from dataclasses import dataclass
from math import cos, inf, pi

from mnemic_core.errors import UserError, check_range


@dataclass(frozen=True)
class CyclicSchedule:
    """Learning rate by epoch; the defaults are the paper's.

    The first epoch of each cycle is trained at ``low``.

    Args:
        low: smallest learning rate.
        high: largest one of the first cycle.
        cycle: epochs of a cycle.
        warmup: epochs in which the learning rate rises.
        decay: factor of the largest learning rate from cycle to cycle.

    Example:
        >>> [float(f"{CyclicSchedule().learning_rate(epoch):.3g}") for epoch in (0, 1, 3, 9, 13)]
        [1e-08, 3.34e-06, 1e-05, 5.05e-07, 9e-06]
    """

    low: float = 1e-8
    high: float = 1e-5
    cycle: int = 10
    warmup: int = 3
    decay: float = 0.9

    def __post_init__(self) -> None:
        check_range(self, 0, inf, "low", "high", "warmup")
        check_range(self, 1, inf, "cycle")
        check_range(self, 0, 1, "decay")
        if self.warmup >= self.cycle:
            raise UserError(f"warmup must be shorter than the cycle, got {self.warmup} of {self.cycle} epochs")

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        number, position = divmod(epoch, self.cycle)
        span = self.high * self.decay**number - self.low
        if position < self.warmup:
            return self.low + span * position / self.warmup
        return self.low + span * (1 + cos(pi * (position - self.warmup) / (self.cycle - self.warmup))) / 2
