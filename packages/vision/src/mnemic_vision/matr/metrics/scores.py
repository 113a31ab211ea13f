"""The result of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

PerThreshold: TypeAlias = tuple[float, ...]
"""One number for each tIoU threshold, in the order of :attr:`LocalizationScores.thresholds`."""


@dataclass(frozen=True)
class InstanceCounts:
    """How many actions and predictions an evaluation was given, and what became of them.

    Attributes:
        truths: annotated actions that count.
        predictions: predictions that count, so those of classes with annotated actions.
        unknown_class: further predictions, of classes without an annotated action; ignored.
        unknown_video: predictions of ``predictions`` in videos that the ground truth does not name; false positives.
        empty_predictions: predictions of ``predictions`` that end where they begin, or before; false positives.
        duplicate_truths: annotated actions dropped because the same is annotated twice.
        empty_truths: annotated actions dropped because they end where they begin, or before.
    """

    truths: int = 0
    predictions: int = 0
    unknown_class: int = 0
    unknown_video: int = 0
    empty_predictions: int = 0
    duplicate_truths: int = 0
    empty_truths: int = 0


@dataclass(frozen=True)
class DurationScores:
    """Scores of the annotated actions in one range of durations.

    Attributes:
        name: ``extra small``, ``small``, ``medium`` or ``long``.
        shortest: duration of the shortest action in the range, in seconds.
        longest: likewise.
        truths: number of actions.
        mean_ap: mean over the classes with actions in the range.
    """

    name: str
    shortest: float
    longest: float
    truths: int
    mean_ap: PerThreshold


@dataclass(frozen=True)
class LocalizationScores:
    """Scores of a system on a set of videos; shares and average precisions are between 0 and 1.

    Attributes:
        thresholds: the tIoU thresholds that the tuples below follow.
        ap: average precision by class.
        truths: annotated actions by class.
        mean_delay: seconds from the annotated end of an action until it was emitted, mean over the true positives
            ("average early detection time"); NaN at thresholds without one.
        recall_within: by a limit in seconds, the share of annotated actions whose true positive was emitted no later
            than this after the annotated end.
        precision_within: by the same limit, the share of predictions that are such true positives, so that late ones
            count as wrong; 0 without predictions. All predictions count, whatever their score.
        durations: scores by duration, from extra small to long; a range without actions is left out.
        counts: what was counted, ignored and dropped.
    """

    thresholds: PerThreshold
    ap: Mapping[str, PerThreshold]
    truths: Mapping[str, int]
    mean_delay: PerThreshold
    recall_within: Mapping[float, PerThreshold]
    precision_within: Mapping[float, PerThreshold]
    durations: Sequence[DurationScores]
    counts: InstanceCounts

    @property
    def mean_ap(self) -> PerThreshold:
        """Mean of the average precision over the classes."""
        return tuple(np.mean(list(self.ap.values()), axis=0).tolist())

    @property
    def average_map(self) -> float:
        """Mean of :attr:`mean_ap` over the thresholds."""
        return float(np.mean(self.mean_ap))

    @property
    def mean_delay_s(self) -> float | None:
        """Mean of :attr:`mean_delay` over the thresholds with true positives, in seconds; None without any."""
        known = [delay for delay in self.mean_delay if not np.isnan(delay)]
        return float(np.mean(known)) if known else None

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers of a summary by name, as JSON takes them.

        These are ``map_<threshold>``, and as means over the thresholds ``map_average``, ``mean_delay_s``,
        ``recall_within_<seconds>s`` and ``precision_within_<seconds>s``.
        """
        numbers: dict[str, float | None] = {
            f"map_{threshold:g}": value for threshold, value in zip(self.thresholds, self.mean_ap, strict=True)
        }
        numbers |= {"map_average": self.average_map, "mean_delay_s": self.mean_delay_s}
        for name in ("recall_within", "precision_within"):
            shares: Mapping[float, PerThreshold] = getattr(self, name)
            numbers |= {f"{name}_{limit:g}s": float(np.mean(values)) for limit, values in shares.items()}
        return numbers
