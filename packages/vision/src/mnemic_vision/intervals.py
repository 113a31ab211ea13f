"""Confidence intervals from resampled sets (bootstrap), of a value and of the difference between two systems."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A measured value.

    Attributes:
        value: on the set as it is.
        low: lower end of the 95 % confidence interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedInterval:
    """Difference in a value between two systems on the same set, first minus second.

    Attributes:
        difference: on the set as it is.
        low: lower end of the 95 % confidence interval.
        high: upper end.
        share_first_better: share of the resampled sets on which the first system has the higher value; ties count half.
    """

    difference: float
    low: float
    high: float
    share_first_better: float


def interval(value: float, resampled: Float[np.ndarray, " sample"]) -> Interval:
    """Return the percentile interval; resampled sets on which the value is not defined (NaN) do not count."""
    return Interval(value, *_ends(resampled[np.isfinite(resampled)]))


def paired(difference: float, resampled: Float[np.ndarray, " sample"]) -> PairedInterval:
    """Return the percentile interval of a difference; NaN does not count."""
    known = resampled[np.isfinite(resampled)]
    better = (known > 0).mean() + (known == 0).mean() / 2
    return PairedInterval(difference, *_ends(known), float(better))


def _ends(values: Float[np.ndarray, " sample"]) -> tuple[float, float]:
    low, high = np.quantile(values, _ENDS).tolist()
    return low, high
