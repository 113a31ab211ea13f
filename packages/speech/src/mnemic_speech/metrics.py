"""Word and character error rates, by duration and with intervals that say how sure they are."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from mnemic_core.errors import UserError


@dataclass(frozen=True)
class ErrorCounts:
    """What it takes to turn a reference into a hypothesis; counts of several utterances add up.

    Args:
        substitutions: words, or characters, that were taken for others.
        deletions: those that were left out.
        insertions: those that were not said.
        length: words or characters of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per word of the reference, above 1 where much was inserted; an empty reference counts as one word."""
        return self.errors / max(self.length, 1)

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
    """The errors of a set of utterances.

    Args:
        counts: over all utterances, so that ``counts.rate`` is the error rate of the set.
        utterances: number of utterances.
        wrong_utterances: those with at least one error.
    """

    counts: ErrorCounts = ErrorCounts()
    utterances: int = 0
    wrong_utterances: int = 0

    @property
    def rate(self) -> float:
        """Error rate of the set: all errors by all words, not the mean over utterances."""
        return self.counts.rate

    @property
    def sentence_error_rate(self) -> float:
        """Share of utterances with at least one error."""
        return self.wrong_utterances / max(self.utterances, 1)

    def to_dict(self) -> dict[str, float]:
        """Return rates and counts as plain values, fit for JSON."""
        return {
            "rate": self.rate,
            "substitutions": self.counts.substitutions,
            "deletions": self.counts.deletions,
            "insertions": self.counts.insertions,
            "length": self.counts.length,
            "utterances": self.utterances,
            "sentence_error_rate": self.sentence_error_rate,
        }


@dataclass(frozen=True)
class Interval:
    """A figure and the range in which it lies with 95 % confidence.

    Args:
        value: measured on all utterances.
        low: lower end of the range.
        high: upper end of the range.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """Error rates of two systems on the same utterances.

    Args:
        difference: rate of the first minus rate of the second; below 0 the first is better.
        share_first_better: share of the resampled sets on which the first has the lower rate; sets on which both
            are equal count half.
    """

    difference: Interval
    share_first_better: float


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count errors in words.

    Args:
        reference: what was said, normalized as the hypothesis is.
        hypothesis: what was recognized.

    Example:
        >>> word_errors("one two three", "one too three four")
        ErrorCounts(substitutions=1, deletions=0, insertions=1, length=3)
    """
    return _count(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count errors in characters, the single spaces between words included.

    Args:
        reference: what was said, normalized as the hypothesis is.
        hypothesis: what was recognized.
    """
    return _count(" ".join(reference.split()), " ".join(hypothesis.split()))


def summarize(items: Iterable[ErrorCounts]) -> ErrorSummary:
    """Return the summary of a set of utterances."""
    items = list(items)
    return ErrorSummary(sum(items, ErrorCounts()), len(items), sum(item.errors > 0 for item in items))


def by_duration(items: Iterable[tuple[float, ErrorCounts]], edges: Sequence[float]) -> dict[str, ErrorSummary]:
    """Return a summary for each range of durations, the empty ones too.

    Args:
        items: duration in seconds and errors of every utterance.
        edges: ascending borders in seconds; a range holds its lower border. Two more ranges hold what is shorter
            than the first border and longer than the last.

    Returns:
        Summaries by name: ``"0-5"``, ``"5-10"``, ``"10-"`` for the borders 5 and 10.

    Raises:
        UserError: if borders are not ascending or not positive.
    """
    borders = [0.0, *edges, np.inf]
    if any(low >= high for low, high in pairwise(borders)):
        raise UserError(f"expected positive ascending borders in seconds, got {list(edges)}")
    groups: list[list[ErrorCounts]] = [[] for _ in range(len(borders) - 1)]
    for duration, counts in items:
        groups[int(np.searchsorted(borders[1:-1], duration, side="right"))].append(counts)
    names = [f"{low:g}-{'' if high == np.inf else format(high, 'g')}" for low, high in pairwise(borders)]
    return {name: summarize(group) for name, group in zip(names, groups, strict=True)}


def bootstrap_interval(items: Sequence[ErrorCounts], seed: int = 0, samples: int = 1000) -> Interval:
    """Return the error rate and its 95 % interval by resampling utterances.

    M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004:
    utterances, not words, are drawn, since errors within one utterance go together.

    Args:
        items: errors of every utterance, at least one.
        seed: of the drawing.
        samples: number of resampled sets.

    Raises:
        UserError: if there is no utterance.
    """
    rates = _resampled_rates([items], seed, samples)[0]
    low, high = np.quantile(rates, (0.025, 0.975))
    return Interval(summarize(items).rate, float(low), float(high))


def paired_bootstrap(
    items_a: Sequence[ErrorCounts], items_b: Sequence[ErrorCounts], seed: int = 0, samples: int = 1000
) -> PairedComparison:
    """Compare two systems on the same utterances by resampling these for both at once.

    Bisani and Ney's paired form: what makes an utterance hard is hard for both systems and cancels, so that the
    interval of the difference is much narrower than those of the two rates.

    Args:
        items_a: errors of the first system for every utterance, at least one.
        items_b: errors of the second for the same utterances in the same order.
        seed: of the drawing.
        samples: number of resampled sets.

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
    """Count the errors of a shortest alignment; of several the one with fewest substitutions, so that counts are sure.

    Deleting and inserting everything is the start; a row of the usual table holds what pairs save of it: two errors
    if equal, one if not. A small penalty makes substitutions countable; deletions and insertions follow, since their
    difference is that of the lengths.
    """
    numbers: dict[Hashable, int] = {}
    said, heard = (
        np.array([numbers.setdefault(item, len(numbers)) for item in sequence], dtype=np.int64)
        for sequence in (reference, hypothesis)
    )
    error = min(len(said), len(heard)) + 1  # weighs more than all substitutions together
    saved = np.zeros(len(heard) + 1, dtype=np.int64)
    for item in said:
        paired = saved[:-1] + np.where(heard == item, 2 * error, error - 1)
        saved[1:] = np.maximum.accumulate(np.maximum(saved[1:], paired))
    errors, substitutions = divmod(error * (len(said) + len(heard)) - int(saved[-1]), error)
    surplus = len(said) - len(heard)
    deletions = (errors - substitutions + surplus) // 2
    return ErrorCounts(substitutions, deletions, deletions - surplus, len(said))


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
    for sample in range(samples):  # one set at a time: all of them would be much memory for many utterances
        drawn = generator.integers(len(lengths), size=len(lengths))
        rates[:, sample] = errors[:, drawn].sum(axis=1) / max(lengths[drawn].sum(), 1)
    return rates
