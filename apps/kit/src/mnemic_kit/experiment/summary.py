"""Statistics of a comparison: means over seeds, and paired differences to a baseline with 95 % intervals."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Literal, TypeAlias

from mnemic_kit.experiment.run import Scores

Better: TypeAlias = Literal["higher", "lower"]
POINT = "@"  # in "accuracy@length 20": the metric at one point of a curve


@dataclass(frozen=True)
class Metric:
    """How a score is read and shown.

    Args:
        label: heading of its column.
        better: which values are better; None for a fact, such as a size, of which no difference is taken.
        scale: factor of the shown number, such as 100 for percent.
        digits: decimals of the shown number.
        chance: value that guessing reaches; a dashed line in plots of curves.
        trained: points of a curve that training covers, shaded in plots.
    """

    label: str
    better: Better | None = "higher"
    scale: float = 1.0
    digits: int = 1
    chance: float | None = None
    trained: Collection[str] = ()

    def show(self, value: float, sign: Literal["", "+"] = "") -> str:
        """Return a value as text."""
        return f"{self.scale * value:{sign},.{self.digits}f}"

    def show_all(self, values: Sequence[float]) -> str:
        """Return mean and standard deviation over the seeds; a fact that is equal for all has no deviation."""
        mean = self.show(fmean(values))
        is_plain = len(values) < 2 or (self.better is None and len(set(values)) == 1)
        return mean if is_plain else f"{mean} ± {self.show(stdev(values))}"


@dataclass(frozen=True)
class Share(Metric):
    """Whether something was reached, 1 or 0 for each seed; shown as a count."""

    def show_all(self, values: Sequence[float]) -> str:
        """Return how many seeds reached it."""
        return f"{round(sum(values))} of {len(values)}"


@dataclass(frozen=True)
class Difference:
    """A variant minus its baseline, paired.

    Args:
        mean: of the pairs.
        low: lower end of the 95 % interval; None where too few pairs allow none.
        high: upper end.
        share_better: share of the pairs, or of the resampled sets, in which the variant is better; ties count half.
        over: what was paired, such as ``seeds`` or ``utterances``.
    """

    mean: float
    low: float | None
    high: float | None
    share_better: float
    over: str = "seeds"


@dataclass(frozen=True)
class Cell:
    """One metric of one variant in one condition.

    Args:
        of_seeds: its value by seed.
        mean: over the seeds.
        deviation: standard deviation over the seeds, None of one.
        difference: to the baseline over the seeds that both have; None for the baseline itself, and for facts.
    """

    of_seeds: dict[int, float]
    mean: float
    deviation: float | None
    difference: Difference | None = None


Found: TypeAlias = Mapping[str, Mapping[int, Scores]]  # scores by variant and seed
Table: TypeAlias = dict[str, dict[str, dict[str, Cell]]]  # by condition, variant and metric
Paired: TypeAlias = Callable[[str, str, str, str, Sequence[int]], Difference | None]
"""From a condition, a metric, a variant, its baseline and the seeds that both have to their difference."""


def find_metric(metrics: Mapping[str, Metric], name: str) -> Metric:
    """Return how a score is read; ``accuracy@length 20`` is read like ``accuracy``."""
    return metrics[name.partition(POINT)[0]]


def summarize(found: Found, metrics: Mapping[str, Metric], baseline: str, paired: Paired | None = None) -> Table:
    """Return every metric of every variant in every condition.

    Args:
        found: scores by variant and seed.
        metrics: how the scores are read.
        baseline: variant that the others are compared with.
        paired: other differences than `over_seeds`; where it returns None, the difference is that over the seeds.
    """
    conditions = dict.fromkeys(name for seeds in found.values() for scores in seeds.values() for name in scores)
    table: Table = {}
    for condition in conditions:
        rows = {variant: row for variant, seeds in found.items() if (row := _row(seeds, condition, metrics))}
        base = rows.get(baseline, {})
        table[condition] = {variant: {} for variant in rows}
        for variant, name in [(variant, name) for variant, row in rows.items() for name in row]:
            values, metric = rows[variant][name], find_metric(metrics, name)
            # A fact, such as a size, has no difference, and neither has the baseline to itself.
            others = base.get(name, {}) if metric.better and variant != baseline else {}
            common = [seed for seed in values if seed in others]
            difference = over_seeds([values[seed] - others[seed] for seed in common], metric.better)
            if difference and paired:
                difference = paired(condition, name, variant, baseline, common) or difference
            deviation = stdev(values.values()) if len(values) > 1 else None
            table[condition][variant][name] = Cell(values, fmean(values.values()), deviation, difference)
    return table


def over_seeds(differences: Sequence[float], better: Better | None = "higher") -> Difference | None:
    """Return the mean of paired differences with the interval of Student's t, which a single pair does not have.

    Args:
        differences: variant minus baseline, one for each seed.
        better: which values are better.

    Returns:
        None without any pair, or where one is not finite.

    Example:
        >>> found = over_seeds([0.1, 0.3, 0.2])
        >>> [round(value, 3) for value in (found.mean, found.low, found.high)]
        [0.2, -0.048, 0.448]
    """
    if not differences or not all(map(isfinite, differences)):
        return None
    mean = fmean(differences)
    sign = 1 if better == "higher" else -1
    share = fmean((sign * value > 0) + 0.5 * (value == 0) for value in differences)
    if len(differences) == 1:
        return Difference(mean, None, None, share)
    from scipy.special import stdtrit  # here: comparisons alone need scipy

    # Half of the interval: t(0.975, n - 1) * s / sqrt(n).
    half = float(stdtrit(len(differences) - 1, 0.975)) * stdev(differences) / len(differences) ** 0.5
    return Difference(mean, mean - half, mean + half, share)


def _row(seeds: Mapping[int, Scores], condition: str, metrics: Mapping[str, Metric]) -> dict[str, dict[int, float]]:
    """Return the values of one variant in one condition by metric and seed; the most important metric comes first."""
    row: dict[str, dict[int, float]] = {}
    for seed, scores in seeds.items():
        for name, value in scores.get(condition, {}).items():
            row.setdefault(name, {})[seed] = value
    main = next((name for name in metrics if name in row), None)
    return dict(sorted(row.items(), key=lambda item: item[0] != main))
