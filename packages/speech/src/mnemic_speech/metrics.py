"""Word and character error rates, by ranges of duration and with bootstrap confidence intervals."""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from mnemic_core.errors import UserError


@dataclass(frozen=True)
class ErrorCounts:
    """Edit operations from a reference to a hypothesis; counts of several utterances add up.

    Args:
        substitutions: words, or characters, replaced by others.
        deletions: words missing in the hypothesis.
        insertions: words not in the reference.
        length: words or characters of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def errors(self) -> int:
        """Total number of errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word, above 1 with many insertions; an empty reference counts as one word."""
        return self.errors / max(self.length, 1)

    def shares(self) -> dict[str, float]:
        """Return deletions, substitutions and insertions per reference word, in the order of tables."""
        names = ("deletions", "substitutions", "insertions")
        return {name: getattr(self, name) / max(self.length, 1) for name in names}

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        """Return the counts of both."""
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )


@dataclass(frozen=True)
class ErrorSummary:
    """The errors of a set of utterances, and the number of utterances with at least one error."""

    counts: ErrorCounts = ErrorCounts()
    utterances: int = 0
    wrong_utterances: int = 0

    @property
    def rate(self) -> float:
        """Error rate of the set: total errors per total words, not the mean over utterances."""
        return self.counts.rate

    @property
    def sentence_error_rate(self) -> float:
        """Share of utterances with at least one error."""
        return self.wrong_utterances / max(self.utterances, 1)


@dataclass(frozen=True)
class Interval:
    """A value measured on all utterances, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """Error rates of two systems on the same utterances.

    Args:
        difference: rate of the first minus rate of the second; below 0 the first is better.
        share_first_better: share of the resampled sets on which the first has the lower rate; ties
            count half.
    """

    difference: Interval
    share_first_better: float


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count errors in words; both texts must be normalized in the same way.

    Example:
        >>> word_errors("one two three", "one too three four")
        ErrorCounts(substitutions=1, deletions=0, insertions=1, length=3)
    """
    return _count(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count errors in characters, the single spaces between words included."""
    return _count(" ".join(reference.split()), " ".join(hypothesis.split()))


def summarize(items: Iterable[ErrorCounts]) -> ErrorSummary:
    """Return the summary of a set of utterances."""
    items = list(items)
    return ErrorSummary(sum(items, ErrorCounts()), len(items), sum(item.errors > 0 for item in items))


def group_by_range(
    items: Iterable[tuple[int | float, ErrorCounts]], edges: Sequence[int | float], step: int = 0
) -> dict[str, list[ErrorCounts]]:
    """Return the errors of the utterances in each range of durations or lengths, the empty ranges too.

    Args:
        items: duration or length, and errors, of every utterance.
        edges: ascending bounds; the ranges of 5 and 10 are ``"0-5"``, ``"5-10"`` and ``"10-"``, each with its lower
            bound.
        step: distance of the values, 1 for whole numbers: the same ranges are then ``"0-4"``, ``"5-9"`` and ``"10-"``.

    Raises:
        UserError: if bounds are not ascending or not positive.
    """
    borders = [0.0, *edges, np.inf]
    if any(low >= high for low, high in pairwise(borders)):
        raise UserError(f"expected positive ascending bounds, got {list(edges)}")
    names = [f"{low:g}-{'' if high == np.inf else format(high - step, 'g')}" for low, high in pairwise(borders)]
    groups: dict[str, list[ErrorCounts]] = {name: [] for name in names}
    for value, counts in items:
        groups[names[bisect_right(edges, value)]].append(counts)
    return groups


def bootstrap_interval(items: Sequence[ErrorCounts], seed: int = 0, samples: int = 1000) -> Interval:
    """Return the error rate and its 95 % interval by resampling utterances.

    M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004:
    utterances, not words, are drawn, since errors within an utterance are correlated.

    Raises:
        UserError: if there is no utterance.
    """
    rates = _resampled_rates([items], seed, samples)[0]
    low, high = np.quantile(rates, (0.025, 0.975))
    return Interval(summarize(items).rate, float(low), float(high))


def paired_bootstrap(
    items_a: Sequence[ErrorCounts], items_b: Sequence[ErrorCounts], seed: int = 0, samples: int = 1000
) -> PairedComparison:
    """Compare two systems on the same utterances by resampling utterances for both at once.

    Bisani and Ney's paired form: the difficulty of an utterance is common to both systems and cancels, so the interval
    of the difference is much narrower than those of the two rates.

    Raises:
        UserError: if there is no utterance, or if the two are not of the same utterances.
    """
    if [item.length for item in items_a] != [item.length for item in items_b]:
        raise UserError(
            f"the systems were scored on different references ({len(items_a)} and {len(items_b)} utterances): "
            "score both on the same utterances in the same order"
        )
    rates_a, rates_b = _resampled_rates([items_a, items_b], seed, samples)
    low, high = np.quantile(rates_a - rates_b, (0.025, 0.975))
    difference = Interval(summarize(items_a).rate - summarize(items_b).rate, float(low), float(high))
    return PairedComparison(difference, float(np.mean((rates_a < rates_b) + 0.5 * (rates_a == rates_b))))


def _count(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> ErrorCounts:
    """Count the errors of a minimum-cost alignment; ties are broken by the fewest substitutions, so counts are unique.

    The baseline deletes and inserts everything; a row of the usual table holds the errors that pairs save: two if
    equal, one if not. A small penalty makes substitutions countable; deletions and insertions follow, since their
    difference is that of the lengths.
    """
    numbers: dict[Hashable, int] = {}
    truth, found = (
        np.array([numbers.setdefault(item, len(numbers)) for item in sequence], dtype=np.int64)
        for sequence in (reference, hypothesis)
    )
    error = min(len(truth), len(found)) + 1  # cost of an error, above the penalties of all substitutions together
    saved = np.zeros(len(found) + 1, dtype=np.int64)
    for item in truth:
        paired = saved[:-1] + np.where(found == item, 2 * error, error - 1)
        saved[1:] = np.maximum.accumulate(np.maximum(saved[1:], paired))
    errors, substitutions = divmod(error * (len(truth) + len(found)) - int(saved[-1]), error)
    surplus = len(truth) - len(found)
    deletions = (errors - substitutions + surplus) // 2
    return ErrorCounts(substitutions, deletions, deletions - surplus, len(truth))


def _resampled_rates(
    systems: Sequence[Sequence[ErrorCounts]], seed: int, samples: int
) -> Float[np.ndarray, "system sample"]:
    """Return the error rates of every system on the same resampled sets of utterances."""
    if not systems[0]:
        raise UserError("an interval needs at least one utterance, got none")
    errors = np.array([[item.errors for item in items] for items in systems], dtype=np.float64)
    lengths = np.array([item.length for item in systems[0]], dtype=np.float64)
    generator = np.random.default_rng(seed)
    rates = np.empty((len(systems), samples))
    for sample in range(samples):  # one set at a time: all of them would need much memory
        drawn = generator.integers(len(lengths), size=len(lengths))
        rates[:, sample] = errors[:, drawn].sum(axis=1) / max(lengths[drawn].sum(), 1)
    return rates
