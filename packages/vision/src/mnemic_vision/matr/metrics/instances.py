"""Annotated and predicted actions of one class in all videos, as arrays that the rest of the evaluation works on."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from mnemic_core.errors import UserError
from mnemic_vision.matr.actions import Action, DetectedAction
from mnemic_vision.matr.metrics.scores import InstanceCounts

Protocol: TypeAlias = Literal["opentad", "activitynet"]
Truths: TypeAlias = Mapping[str, Sequence[Action]]
Predictions: TypeAlias = Mapping[str, Sequence[DetectedAction]]

DUPLICATE_TOLERANCE = 1e-3
"""Two annotations of a class are the same action if starts and ends differ by at most this, in seconds (OpenTAD)."""


@dataclass(frozen=True)
class ClassInstances:
    """The actions of one class.

    Attributes:
        truths: start and end in seconds.
        truth_video: number of the video of each.
        segments: start and end of the predictions, in seconds, the best score first. Equal scores are in the order of
            emission, so no result depends on the order in which predictions are given.
        video: number of the video of each prediction; a video has the same number in all classes.
        score: likewise, falling.
        emitted: time of emission in seconds.
    """

    truths: Float[np.ndarray, "truth 2"]
    truth_video: Int[np.ndarray, " truth"]
    segments: Float[np.ndarray, "prediction 2"]
    video: Int[np.ndarray, " prediction"]
    score: Float[np.ndarray, " prediction"]
    emitted: Float[np.ndarray, " prediction"]


def collect_instances(
    truths: Truths, predictions: Predictions, protocol: Protocol
) -> tuple[dict[str, ClassInstances], InstanceCounts]:
    """Return the instances of every class with annotated actions, by name, and what was counted and dropped.

    Raises:
        UserError: a number is NaN or infinite, or no annotated action is left.
    """
    kept, dropped = _select_truths(truths, protocol)
    labels = sorted({action.label for actions in kept.values() for action in actions})
    if not labels:
        raise UserError(f"expected annotated actions to evaluate against, got none in {len(truths)} videos")
    number = {name: float(index) for index, name in enumerate(dict.fromkeys([*truths, *predictions]))}
    known = [(name, each) for name, found in predictions.items() for each in _check_predictions(name, found)]
    total, known = len(known), [(name, each) for name, each in known if each.label in set(labels)]
    instances = _split_by_class(labels, kept, known, number)
    counts = InstanceCounts(
        truths=sum(map(len, kept.values())),
        predictions=len(known),
        unknown_class=total - len(known),
        unknown_video=sum(name not in truths for name, _ in known),
        empty_predictions=sum(each.end <= each.start for _, each in known),
        duplicate_truths=dropped["duplicate"],
        empty_truths=dropped["empty"],
    )
    return instances, counts


def _split_by_class(
    labels: Sequence[str],
    truths: Truths,
    predictions: Sequence[tuple[str, DetectedAction]],
    number: Mapping[str, float],
) -> dict[str, ClassInstances]:
    truth_rows: dict[str, list[tuple[float, ...]]] = {label: [] for label in labels}
    rows: dict[str, list[tuple[float, ...]]] = {label: [] for label in labels}
    for name, actions in truths.items():
        for action in actions:
            truth_rows[action.label].append((number[name], action.start, action.end))
    for name, each in predictions:
        rows[each.label].append((number[name], -each.score, each.emitted, each.start, each.end))
    return {label: _as_arrays(truth_rows[label], rows[label]) for label in labels}


def _as_arrays(truth_rows: list[tuple[float, ...]], rows: list[tuple[float, ...]]) -> ClassInstances:
    truths = np.array(truth_rows, dtype=np.float64).reshape(-1, 3)
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    table = table[np.lexsort(table.T[[0, 4, 3, 2, 1]])]  # the last key, the score, decides first
    return ClassInstances(
        truths=truths[:, 1:],
        truth_video=truths[:, 0].astype(np.int64),
        segments=table[:, 3:],
        video=table[:, 0].astype(np.int64),
        score=-table[:, 1],
        emitted=table[:, 2],
    )


def _select_truths(truths: Truths, protocol: Protocol) -> tuple[dict[str, list[Action]], Counter[str]]:
    """Return the annotations that count, and how many do not because they are empty or a duplicate."""
    kept: dict[str, list[Action]] = {name: [] for name in truths}
    dropped: Counter[str] = Counter()
    for name, actions in truths.items():
        for action in actions:
            _check_finite(action, name, (action.start, action.end))
            fault = _fault(action, kept[name]) if protocol == "opentad" else ""
            dropped[fault] += 1
            if not fault:
                kept[name].append(action)
    return kept, dropped


def _fault(action: Action, earlier: Iterable[Action]) -> str:
    if action.end <= action.start:
        return "empty"
    is_known = any(
        action.label == each.label
        and abs(action.start - each.start) <= DUPLICATE_TOLERANCE
        and abs(action.end - each.end) <= DUPLICATE_TOLERANCE
        for each in earlier
    )
    return "duplicate" if is_known else ""


def _check_predictions(name: str, predictions: Sequence[DetectedAction]) -> Sequence[DetectedAction]:
    for each in predictions:
        _check_finite(each, name, (each.score, each.start, each.end, each.emitted))
    return predictions


def _check_finite(action: Action | DetectedAction, video: str, numbers: Iterable[float]) -> None:
    if not all(map(isfinite, numbers)):
        raise UserError(f"{action} of video {video!r} has a number that is NaN or infinite; correct or remove it")
