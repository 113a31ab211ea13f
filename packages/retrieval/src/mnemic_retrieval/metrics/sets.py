"""Precision, recall and F1 of a set: retrieved sources, or cited ones."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class SetScores:
    """Scores of a predicted set, 0 to 1.

    Attributes:
        precision: share of the predicted that are right.
        recall: share of the right ones that are predicted.
        f1: their harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def score_sets(predicted: Collection[str], gold: Collection[str]) -> SetScores:
    """Return the scores of ids of sources, all 0 where none agrees, also of empty sets.

    Example:
        >>> score_sets(["a", "b"], ["a"])
        SetScores(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    found, wanted = set(predicted), set(gold)
    common = len(found & wanted)
    if not common:
        return SetScores(0.0, 0.0, 0.0)
    return SetScores(common / len(found), common / len(wanted), 2 * common / (len(found) + len(wanted)))
