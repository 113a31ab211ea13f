"""Evaluation of (online) action localization, as ActivityNet, the official MATR code and OpenTAD compute it."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemic_core.errors import UserError, check_choice
from mnemic_vision.matr.metrics.average_precision import average_precision
from mnemic_vision.matr.metrics.instances import Predictions, Protocol, Truths, collect_instances
from mnemic_vision.matr.metrics.matching import ClassMatches, match_class
from mnemic_vision.matr.metrics.scores import DurationScores, InstanceCounts, LocalizationScores, PerThreshold

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""The tIoU thresholds of THUMOS14, as literals: ``linspace(0.3, 0.7, 5)`` has 0.39999999999999997 in their place."""
DELAYS = (1.0, 2.0, 5.0)
"""Seconds after the end of an action within which it should be emitted."""
_DURATIONS = ("extra small", "small", "medium", "long")

_Matches: TypeAlias = dict[str, ClassMatches]


def evaluate_actions(
    truths: Truths,
    predictions: Predictions,
    *,
    thresholds: Sequence[int | float] = THRESHOLDS,
    delays: Sequence[int | float] = DELAYS,
    protocol: Protocol = "opentad",
) -> LocalizationScores:
    """Score the predictions for a set of videos.

    For every class with annotated actions, the predictions of all videos are taken by falling score, and each is
    matched with the free annotated action of its video that it overlaps most; below the threshold, or without a free
    one, it is a false positive. So are predictions in videos that ``truths`` does not name: names must be equal.

    The evaluators of ActivityNet, MATR (ActivityNet's with a time of emission) and OpenTAD do the same,
    and on valid input this function returns their numbers. They differ in

    - **annotations**: OpenTAD drops those that do not end after their start, and those within 0.001 s of an earlier
      one of the same class and video. ActivityNet and MATR keep them, so that they are missed unless predicted twice.
      ``protocol`` chooses between the two;
    - **predicted classes without annotation**: ActivityNet stops, MATR's mean is NaN, OpenTAD ignores them, as here;
    - **thresholds**: MATR's come from ``linspace`` and ActivityNet's too, OpenTAD's are literals, as here;
    - **precision**: mmaction2 computes tIoU in float32: [0, 7] in [0, 10] misses the threshold 0.7 of ``linspace``;
    - **equal scores**: all of these take them in an order that depends on the input; here they count together, see
      :func:`average_precision`.

    None of them treats the label "Ambiguous" of THUMOS14 differently: leave it out of ``truths``.

    Args:
        truths: annotated actions by video; name the videos without actions too.
        predictions: detected actions by video; a video may be absent.
        thresholds: smallest tIoU of a true positive, each above 0 and at most 1.
        delays: seconds for :attr:`LocalizationScores.recall_within` and ``precision_within``.
        protocol: ``"opentad"`` drops empty and duplicate annotations, ``"activitynet"`` keeps them.

    Raises:
        UserError: no annotated action, a number that is NaN or infinite, or a threshold out of range.

    Example:
        >>> from mnemic_vision.matr import Action, DetectedAction
        >>> found = DetectedAction("jump", 0.9, start=0.0, end=7.0, emitted=11.0)
        >>> scores = evaluate_actions({"clip": [Action("jump", 0.0, 10.0)]}, {"clip": [found]})
        >>> scores.average_map, scores.mean_delay_s
        (1.0, 1.0)
    """
    matches, counts = match_actions(truths, predictions, thresholds=thresholds, protocol=protocol)
    recall, precision = _shares_within(matches, counts, delays)
    return LocalizationScores(
        thresholds=tuple(map(float, thresholds)),
        ap={label: _as_tuple(_class_ap(each)) for label, each in matches.items()},
        truths={label: len(each.instances.truths) for label, each in matches.items()},
        mean_delay=_mean_delay(matches),
        recall_within=recall,
        precision_within=precision,
        durations=_duration_scores(matches),
        counts=counts,
    )


def match_actions(
    truths: Truths, predictions: Predictions, *, thresholds: Sequence[int | float], protocol: Protocol
) -> tuple[_Matches, InstanceCounts]:
    """Return the matches of every class with annotated actions, and what was counted; see :func:`evaluate_actions`."""
    check_choice(Protocol, protocol=protocol)
    if not thresholds or not all(0 < threshold <= 1 for threshold in thresholds):
        raise UserError(f"thresholds must be above 0 and at most 1, got {list(thresholds)}")
    instances, counts = collect_instances(truths, predictions, protocol)
    return {label: match_class(each, thresholds) for label, each in instances.items()}, counts


def _class_ap(matches: ClassMatches) -> Float[np.ndarray, " threshold"]:
    score = matches.instances.score
    return average_precision(score, matches.is_hit, np.ones((1, len(score))), len(matches.instances.truths))


def _mean_delay(matches: _Matches) -> PerThreshold:
    delays = np.concatenate([each.delay for each in matches.values()], axis=1)
    is_hit = np.isfinite(delays)
    sums, hits = np.where(is_hit, delays, 0.0).sum(axis=1), is_hit.sum(axis=1)
    return _as_tuple(np.divide(sums, hits, out=np.full_like(sums, np.nan), where=hits > 0))


def _shares_within(
    matches: _Matches, counts: InstanceCounts, limits: Sequence[int | float]
) -> tuple[dict[float, PerThreshold], dict[float, PerThreshold]]:
    """Return recall and precision where later true positives do not count, by the limit of delay."""
    delays = np.concatenate([each.delay for each in matches.values()], axis=1)
    hits = {float(limit): (delays <= limit).sum(axis=1) for limit in limits}
    recall = {limit: _as_tuple(number / counts.truths) for limit, number in hits.items()}
    return recall, {limit: _as_tuple(number / max(counts.predictions, 1)) for limit, number in hits.items()}


def _duration_scores(matches: _Matches) -> list[DurationScores]:
    """Scores of the four quarters of the annotated actions by duration; equal durations are never parted."""
    durations = np.concatenate([_lengths(each.instances.truths) for each in matches.values()])
    edges = np.quantile(durations, (0.25, 0.5, 0.75))
    ranges = _range_of(durations, edges)
    return [
        DurationScores(
            name=name,
            shortest=float(durations[ranges == index].min()),
            longest=float(durations[ranges == index].max()),
            truths=int((ranges == index).sum()),
            mean_ap=_mean_range_ap(matches, edges, index),
        )
        for index, name in enumerate(_DURATIONS)
        if (ranges == index).any()
    ]


def _mean_range_ap(matches: _Matches, edges: Float[np.ndarray, " edge"], index: int) -> PerThreshold:
    """Mean AP of the actions in one range, as COCO does it for sizes of objects.

    Predictions that found an action of another range do not count, nor do false positives of another duration.
    """
    values = []
    for each in matches.values():
        is_inside = _range_of(_lengths(each.instances.truths), edges) == index
        is_own = _range_of(_lengths(each.instances.segments), edges) == index
        if is_inside.any():
            counts: Bool[np.ndarray, "threshold prediction"] = np.where(each.is_hit, is_inside[each.found], is_own)
            weight = counts.astype(np.float64)
            values.append(average_precision(each.instances.score, each.is_hit, weight, float(is_inside.sum())))
    return _as_tuple(np.mean(values, axis=0))


def _lengths(segments: Float[np.ndarray, "action 2"]) -> Float[np.ndarray, " action"]:
    lengths: Float[np.ndarray, " action"] = segments[:, 1] - segments[:, 0]
    return lengths


def _range_of(durations: Float[np.ndarray, " action"], edges: Float[np.ndarray, " edge"]) -> Int[np.ndarray, " action"]:
    return np.searchsorted(edges, durations, side="left")


def _as_tuple(values: Float[np.ndarray, " threshold"]) -> PerThreshold:
    return tuple(values.tolist())
