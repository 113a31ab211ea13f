"""Latency of simultaneous translation: average lagging and its relatives, as SimulEval 1.1.4 computes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import isfinite
from typing import TypeAlias

from mnemic_core.errors import UserError

Times: TypeAlias = Sequence[float]

_PIECE = 300.0  # ms of speech that count as one source token in the average token delay


@dataclass(frozen=True)
class Emission:
    """When the words of one translation were written.

    Attributes:
        delays: source that had been read when each word was written, ms for speech, tokens for text; never falling.
        source_length: of the whole source, in the same unit.
        target_length: words of the reference.
        elapsed: ms of wall time when each word was written, from the start of the source, with the source arriving in
            real time; empty where it was not measured.
        is_text: whether the source is text, of which each token counts as 1.

    Raises:
        UserError: for times that fall, are negative or not finite, another number of elapsed times, or no source.
    """

    delays: tuple[float, ...]
    source_length: float
    target_length: int
    elapsed: tuple[float, ...] = ()
    is_text: bool = False

    def __post_init__(self) -> None:
        times = (0.0, *self.delays)
        if not all(isfinite(time) for time in (*times, *self.elapsed)) or min(times) < 0:
            raise UserError("delays must be finite numbers of 0 or more")
        if any(later < earlier for earlier, later in pairwise(times)):
            raise UserError("delays of words must not fall: give them in the order in which the words were written")
        if self.elapsed and len(self.elapsed) != len(self.delays):
            raise UserError(f"each of {len(self.delays)} words needs an elapsed time, got {len(self.elapsed)}")
        if not self.source_length > 0 or self.target_length < 1:
            raise UserError("latency needs a source and a reference of at least one word")

    @property
    def early_share(self) -> float:
        """Share of the words that were written before the source ended; 0 for an offline system."""
        return sum(delay < self.source_length for delay in self.delays) / max(1, len(self.delays))


def average_lagging(times: Times, source_length: float, target_length: int) -> float:
    """Return by how much words lag behind an ideal that writes evenly while it reads (AL; arXiv 1810.08398, eq. 8).

    Negative where more is written than the reference has; see `length_adaptive_average_lagging`.

    Args:
        times: when each word was written, in the unit of the source.
        source_length: of the whole source.
        target_length: words of the reference.

    Example:
        >>> average_lagging([1000.0, 2000.0, 3000.0, 4000.0, 5000.0], 5000.0, 5)
        1000.0
    """
    if times[0] > source_length:
        return float(times[0])
    step = source_length / target_length
    until = next((index + 1 for index, time in enumerate(times) if time >= source_length), len(times))
    return sum(time - index * step for index, time in enumerate(times[:until])) / until


def length_adaptive_average_lagging(times: Times, source_length: float, target_length: int) -> float:
    """Return the average lagging relative to the longer of translation and reference (LAAL; arXiv 2206.05807)."""
    return average_lagging(times, source_length, max(len(times), target_length))


def average_proportion(times: Times, source_length: float, target_length: int) -> float:
    """Return the mean share of the source that was read (AP; arXiv 1606.02012); above 1 for long translations."""
    return sum(times) / (source_length * target_length)


def differentiable_average_lagging(times: Times, source_length: float, target_length: int) -> float:
    """Return the average lagging in which each word costs its share of the source (DAL; arXiv 1906.05218)."""
    del target_length  # as SimulEval: relative to the translation alone
    step, last, total = source_length / len(times), -source_length, 0.0
    for index, time in enumerate(times):
        last = max(time, last + step) if index else time
        total += last - index * step
    return total / len(times)


def average_token_delay(emission: Emission, *, computation_aware: bool = False) -> float:
    """Return the mean time from the end of a piece of the source to that of the word for it (ATD; arXiv 2211.13173).

    The source read between two delays is cut into pieces of 300 ms, of text into tokens. Word ``t`` belongs to piece
    ``t``, an earlier one by as many words as were written ahead of the source, and to none that has not been read.

    Args:
        emission: the words.
        computation_aware: add the time that computing took.
    """
    ends: list[float] = []  # of the pieces
    total, spoken, before, written = 0.0, 0.0, 0.0, 0
    computing = [elapsed - delay for elapsed, delay in zip(emission.elapsed, emission.delays, strict=False)]
    for read, words in groupby(emission.delays):
        pieces_before, words_before = len(ends), written
        ends += _cut(before, read, 1.0 if emission.is_text else _PIECE)
        for _ in words:
            spent = computing[written] - (computing[written - 1] if written else 0.0) if computation_aware else 0.0
            spoken = max(read, spoken) + spent + (1.0 if emission.is_text else 0.0)
            piece = min(written - max(0, words_before - pieces_before), len(ends) - 1)
            total += spoken - (ends[piece] if ends else 0.0)
            written += 1
        before = read
    return total / written


@dataclass(frozen=True)
class LatencyScores:
    """Means over the translations that have words; the unit is that of the delays.

    Attributes:
        scores: by name: AL, LAAL, AP, DAL, ATD, and with the suffix ``_CA`` the computation-aware ones where all
            elapsed times are known, with RTF, the wall time relative to the source; None where nothing was written.
        num_scored: translations with words.
        num_empty: translations without any, which have no latency.
        early_share: share of the words written before the source ended.
    """

    scores: dict[str, float | None]
    num_scored: int
    num_empty: int
    early_share: float


_LAGGINGS: dict[str, Callable[[Times, float, int], float]] = {
    "AL": average_lagging,
    "LAAL": length_adaptive_average_lagging,
    "AP": average_proportion,
    "DAL": differentiable_average_lagging,
}


def score_latency(emissions: Sequence[Emission]) -> LatencyScores:
    """Return the mean latency of translations."""
    scored = [emission for emission in emissions if emission.delays]
    rows = [score_sentence(emission) for emission in scored]
    known = set.intersection(*(set(row) for row in rows)) if rows else set(_NAMES)
    scores: dict[str, float | None] = {
        name: sum(row[name] for row in rows) / len(rows) if rows else None for name in _NAMES if name in known
    }
    early = sum(emission.early_share * len(emission.delays) for emission in scored)
    words = sum(len(emission.delays) for emission in scored)
    return LatencyScores(scores, len(scored), len(emissions) - len(scored), early / max(1, words))


def score_sentence(emission: Emission) -> dict[str, float]:
    """Return the latency of one translation with words, by name."""
    found = {}
    for suffix, times in (("", emission.delays), ("_CA", emission.elapsed)):
        if not times:
            continue
        for name, score in _LAGGINGS.items():
            found[name + suffix] = score(times, emission.source_length, emission.target_length)
        found["ATD" + suffix] = average_token_delay(emission, computation_aware=bool(suffix))
    if emission.elapsed:
        found["RTF_CA"] = emission.elapsed[-1] / emission.source_length
    return found


_NAMES = (*tuple(f"{name}{suffix}" for suffix in ("", "_CA") for name in (*_LAGGINGS, "ATD")), "RTF_CA")


def _cut(start: float, stop: float, length: float) -> list[float]:
    """Return the ends of pieces of a length and of what remains."""
    ends = []
    while stop - start > length:
        start += length
        ends.append(start)
    return [*ends, stop] if stop > start else ends
