"""Metrics of rankings, equal to trec_eval's."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log2
from statistics import fmean
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError, check_at_least

Number: TypeAlias = int | float
Gain: TypeAlias = Literal["linear", "exponential"]
"""What a document of grade g is worth: g as in trec_eval, or 2^g - 1 as in web search."""


@dataclass(frozen=True)
class RankingScores:
    """Means over all judged queries, 0 to 1.

    Attributes:
        recall: share of the relevant documents among the first k, by k.
        hit: share of queries with a relevant document among the first k, by k; retrieval of pictures by caption calls
            this recall.
        mrr: 1 / rank of the first relevant document.
        map: average precision.
        ndcg: discounted gain of the first k relative to the best order, by k.
        num_queries: judged queries.
        num_missing: of them, how many have no results; they count as 0.
    """

    recall: dict[int, float]
    hit: dict[int, float]
    mrr: float
    map: float
    ndcg: dict[int, float]
    num_queries: int
    num_missing: int


def rank(scores: Mapping[str, Number]) -> list[str]:
    """Return documents by falling score; of equal scores the one with the larger id first, as trec_eval has it.

    Raises:
        UserError: a score is NaN or infinite.

    Example:
        >>> rank({"a": 0.5, "m": 0.5, "z": 0.9})
        ['z', 'm', 'a']
    """
    if wrong := [name for name, score in scores.items() if not isfinite(score)]:
        raise UserError(f"the score of {wrong[0]!r} is {scores[wrong[0]]}: scores must be finite")
    return sorted(scores, key=lambda name: (scores[name], name), reverse=True)


def recall_at(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the share of the relevant documents among the first ``k``; 0 if none is relevant."""
    return _found(ranked, relevant, k) / len(relevant) if relevant else 0.0


def precision_at(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the share of relevant documents among the first ``k``, which count as ``k`` if there are fewer."""
    return _found(ranked, relevant, k) / k


def hit_at(ranked: Sequence[str], relevant: Collection[str], k: int) -> bool:
    """Return whether there is a relevant document among the first ``k``."""
    return _found(ranked, relevant, k) > 0


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return 1 / rank of the first relevant document, 0 without one."""
    return next((1 / place for place, name in enumerate(ranked, 1) if name in relevant), 0.0)


def average_precision(ranked: Sequence[str], relevant: Collection[str], k: int | None = None) -> float:
    """Return the mean, over all relevant documents, of the precision at their ranks; not found ones count as 0.

    Args:
        ranked: ids, best first.
        relevant: ids of all relevant documents.
        k: count the first ``k`` only.

    Example:
        >>> average_precision(["a", "b", "x"], ["a", "b", "c", "d"])
        0.5
    """
    places = [place for place, name in enumerate(ranked[:k], 1) if name in relevant]
    total = sum((number / place for number, place in enumerate(places, 1)), 0.0)
    return total / len(relevant) if relevant else 0.0


def ndcg_at(ranked: Sequence[str], grades: Mapping[str, Number], k: int | None = None, gain: Gain = "linear") -> float:
    """Return the gain of the first ``k`` documents, each divided by log2(rank + 1), relative to that of the best order.

    Args:
        ranked: ids, best first.
        grades: of judged documents; others, and grades below 0, are worth nothing.
        k: None for all.
        gain: of a grade.

    Example:
        >>> round(ndcg_at(["b", "a", "c"], {"b": 1, "a": 3, "c": 2}), 4)
        0.8175
    """
    best = _discounted(sorted((_gain(grade, gain) for grade in grades.values()), reverse=True)[:k])
    return _discounted([_gain(grades.get(name, 0), gain) for name in ranked[:k]]) / best if best else 0.0


def score_rankings(
    results: Mapping[str, Mapping[str, Number]],
    judgments: Mapping[str, Mapping[str, Number]],
    ks: Sequence[int] = (1, 5, 10),
) -> RankingScores:
    """Return the means over all judged queries.

    Args:
        results: score of each retrieved document, by query; queries without judgments are ignored.
        judgments: grade of each judged document, by query; above 0 is relevant.
        ks: lengths of rankings for recall, hits and nDCG.

    Raises:
        UserError: nothing is judged, or a score is not finite.
    """
    if not judgments:
        raise UserError("there are no judgments: nothing to score")
    rankings = {query: rank(results.get(query, {})) for query in judgments}
    relevant = {query: {name for name, grade in grades.items() if grade > 0} for query, grades in judgments.items()}
    pairs = [(rankings[query], relevant[query]) for query in judgments]
    return RankingScores(
        recall={k: fmean(recall_at(*pair, k) for pair in pairs) for k in ks},
        hit={k: fmean(hit_at(*pair, k) for pair in pairs) for k in ks},
        mrr=fmean(reciprocal_rank(*pair) for pair in pairs),
        map=fmean(average_precision(*pair) for pair in pairs),
        ndcg={k: fmean(ndcg_at(rankings[query], judgments[query], k) for query in judgments) for k in ks},
        num_queries=len(judgments),
        num_missing=sum(not ranked for ranked in rankings.values()),
    )


def _found(ranked: Sequence[str], relevant: Collection[str], k: int) -> int:
    check_at_least(1, k=k)
    return sum(name in relevant for name in ranked[:k])


def _gain(grade: Number, gain: Gain) -> float:
    return max(float(grade) if gain == "linear" else 2.0**grade - 1, 0.0)


def _discounted(gains: Sequence[float]) -> float:
    return sum((value / log2(place + 1) for place, value in enumerate(gains, 1)), 0.0)
