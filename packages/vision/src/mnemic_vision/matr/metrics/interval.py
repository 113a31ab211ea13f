"""Confidence interval of the difference between two systems: a paired bootstrap over videos."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.intervals import PairedInterval, paired
from mnemic_vision.matr.metrics.average_precision import average_precision
from mnemic_vision.matr.metrics.evaluation import THRESHOLDS, match_actions
from mnemic_vision.matr.metrics.instances import Predictions, Protocol, Truths
from mnemic_vision.matr.metrics.matching import ClassMatches


def paired_interval(
    truths: Truths,
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    *,
    thresholds: Sequence[int | float] = THRESHOLDS,
    protocol: Protocol = "opentad",
    samples: int = 1000,
    seed: int = 0,
) -> PairedInterval:
    """Compare the average mAP of two systems by resampling videos, which are the independent units.

    Each sample draws as many videos as there are, with replacement, and evaluates both systems on it; a video drawn
    twice counts twice. Classes without an action in a sample do not count there. Predictions compete within a video
    only, so they are matched once. Several runs of a system, such as trainings from different seeds, count by their
    mean; the interval then covers the choice of videos for these runs.

    Args:
        truths: annotated actions by video.
        first: runs of a system, each with its predictions by video.
        second: runs of the other.
        thresholds: see :func:`evaluate_actions`.
        protocol: likewise.
        samples: resampled sets.
        seed: of the random choice; the same seed draws the same videos for every pair of systems.

    Raises:
        UserError: as :func:`evaluate_actions`, fewer than two videos, or a system without a run.
    """
    check_at_least(1, samples=samples)
    if not first or not second:
        raise UserError(f"each system needs at least one run, got {len(first)} and {len(second)}")
    videos: Truths = {name: truths.get(name, ()) for run in (truths, *first, *second) for name in run}
    if len(videos) < 2:
        raise UserError(f"an interval needs at least two videos to resample, got {len(videos)}")
    systems = [
        [list(match_actions(videos, run, thresholds=thresholds, protocol=protocol)[0].values()) for run in system]
        for system in (first, second)
    ]
    drawn = np.random.default_rng(seed).multinomial(len(videos), np.full(len(videos), 1 / len(videos)), size=samples)
    differences = np.array([_difference(systems, times.astype(np.float64)) for times in drawn])
    return paired(_difference(systems, np.ones(len(videos))), differences)  # NaN where no drawn video has an action


def _difference(systems: Sequence[Sequence[Sequence[ClassMatches]]], times: Float[np.ndarray, " video"]) -> float:
    """Difference in average mAP where each video counts ``times``; NaN without an action."""
    first, second = (np.mean([[_weighted_ap(each, times) for each in run] for run in runs], axis=0) for runs in systems)
    is_known = np.isfinite(first)  # classes with actions
    return float((first - second)[is_known].mean()) if is_known.any() else np.nan


def _weighted_ap(matches: ClassMatches, times: Float[np.ndarray, " video"]) -> float:
    num_truths = float(times[matches.instances.truth_video].sum())
    if num_truths == 0:
        return np.nan
    weight = times[matches.instances.video][None]
    return float(average_precision(matches.instances.score, matches.is_hit, weight, num_truths).mean())
