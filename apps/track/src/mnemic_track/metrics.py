"""HOTA, CLEAR and identity scores: a thin adapter that hands boxes to TrackEval without files in between.

TrackEval (``pip install mnemic-track[metrics]``) is imported at the first evaluation. Its metrics need neither OpenCV
nor matplotlib at run time, although the package lists both, so nothing beyond pip is needed on a bare machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mnemic_core.errors import UserError
from mnemic_core.markdown import markdown_table
from mnemic_track.overlaps import iou_xywh
from mnemic_track.results import MotRows, rows_by_frame
from mnemic_track.shielding import without_shielded
from mnemic_vision.memotr.data import OtherBoxes

_HEADINGS = {"hota": "HOTA", "deta": "DetA", "assa": "AssA", "mota": "MOTA", "idf1": "IDF1", "id_switches": "switches"}

SequenceCounts = dict[str, dict[str, Any]]
"""Counts of one sequence by metric and name, numbers or lists of them, one for each localization threshold."""

_TrackEvalResult = dict[str, Any]  # field name -> number, or one number for each localization threshold


@dataclass(frozen=True)
class SequenceResult:
    """The annotated and the tracked boxes of one sequence; their ids may be any integers and need not be related.

    Attributes:
        name: of the sequence.
        ground_truth: objects.
        predictions: tracks.
        others: annotated boxes that are not objects, see `without_shielded`.
    """

    name: str
    ground_truth: MotRows
    predictions: MotRows
    others: OtherBoxes = field(default_factory=OtherBoxes.none)


@dataclass(frozen=True)
class TrackingScores:
    """Scores of one sequence or of several together, 1 is perfect.

    Attributes:
        hota: higher order tracking accuracy, mean over the localization thresholds 0.05, 0.10, ... 0.95.
        deta: detection part of HOTA.
        assa: association part of HOTA.
        mota: multi-object tracking accuracy at IoU 0.5; below 0 with more errors than objects.
        idf1: F1 score of the identities at IoU 0.5.
        id_switches: how often an object changed its id.
        sequences: the scores of each sequence by name; empty for a single sequence.
    """

    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    id_switches: int
    sequences: dict[str, "TrackingScores"] = field(default_factory=dict)

    def as_dict(self) -> dict[str, float | int]:
        """Return the six numbers by name, without the single sequences."""
        return {name: getattr(self, name) for name in _HEADINGS}


def evaluate_sequences(sequences: Sequence[SequenceResult]) -> TrackingScores:
    """Score tracked sequences against their ground truth.

    The total is TrackEval's: counts are summed over the sequences before ratios are formed, so long sequences weigh
    more. A sequence without ground truth adds its predictions as false positives, one without predictions its objects
    as misses; taken alone, both score 0.

    Raises:
        UserError: no sequence, a name twice, an id twice in one frame, or TrackEval is not installed.

    Example:
        >>> rows = MotRows(np.array([1, 2]), np.array([5, 5]), np.array([[0.0, 0, 10, 20], [2.0, 0, 10, 20]]))
        >>> evaluate_sequences([SequenceResult("street", rows, rows)]).as_dict()
        {'hota': 1.0, 'deta': 1.0, 'assa': 1.0, 'mota': 1.0, 'idf1': 1.0, 'id_switches': 0}
    """
    names = [sequence.name for sequence in sequences]
    if not names or len(set(names)) < len(names):
        raise UserError(f"expected at least one sequence and different names, got {names}")
    return combine_counts({sequence.name: count_matches(sequence) for sequence in sequences})


def count_matches(sequence: SequenceResult) -> SequenceCounts:
    """Return the counts of one sequence, as plain numbers and lists of them.

    Raises:
        UserError: an id twice in one frame, or TrackEval is not installed.
    """
    data = _trackeval_input(sequence)
    counts = {
        type(metric).__name__: {name: np.asarray(value).tolist() for name, value in metric.eval_sequence(data).items()}
        for metric in _trackeval_metrics()
    }
    return counts | {"objects": {"boxes": data["num_gt_dets"]}}


def combine_counts(counts: Mapping[str, SequenceCounts]) -> TrackingScores:
    """Return the scores of some sequences together and of each alone, from what `count_matches` returned by name."""
    metrics = _trackeval_metrics()
    results = [{name: _as_arrays(each[type(metric).__name__]) for name, each in counts.items()} for metric in metrics]
    single = {name: _scores(*(result[name] for result in results)) for name in counts}
    if not any(each["objects"]["boxes"] for each in counts.values()):  # TrackEval would divide by zero
        return TrackingScores(0.0, 0.0, 0.0, 0.0, 0.0, 0, single)
    hota, clear, identity = (m.combine_sequences(result) for m, result in zip(metrics, results, strict=True))
    return _scores(hota, clear, identity, sequences=single)


def _as_arrays(counts: dict[str, Any]) -> _TrackEvalResult:
    return {name: np.asarray(value) if isinstance(value, list) else value for name, value in counts.items()}


def _trackeval_metrics() -> tuple[Any, Any, Any]:
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity  # an extra, and slow to import
    except ModuleNotFoundError as error:
        raise UserError(
            f"tracking scores need {error.name}; install it with: pip install 'mnemic-track[metrics]'"
        ) from error
    quiet = {"PRINT_CONFIG": False}  # they print their settings otherwise
    return HOTA(), CLEAR(quiet), Identity(quiet)


def _scores(
    hota: _TrackEvalResult,
    clear: _TrackEvalResult,
    identity: _TrackEvalResult,
    *,
    sequences: dict[str, TrackingScores] | None = None,
) -> TrackingScores:
    return TrackingScores(
        hota=float(np.mean(hota["HOTA"])),
        deta=float(np.mean(hota["DetA"])),
        assa=float(np.mean(hota["AssA"])),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        id_switches=int(clear["IDSW"]),
        sequences=sequences or {},
    )


def _trackeval_input(sequence: SequenceResult) -> dict[str, Any]:
    """Boxes grouped by frame, ids renumbered from 0, and the IoU of every pair within a frame."""
    truth, found = sequence.ground_truth, sequence.predictions
    _check_ids(truth, f"ground truth of {sequence.name}")
    _check_ids(found, f"predictions of {sequence.name}")
    found = without_shielded(found, truth, sequence.others)
    truth_ids, truth_index = np.unique(truth.id, return_inverse=True)
    found_ids, found_index = np.unique(found.id, return_inverse=True)
    frames = np.union1d(truth.frame, found.frame)  # empty frames change no score
    truth_rows, found_rows = (rows_by_frame(rows.frame, frames) for rows in (truth, found))
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(truth_ids),
        "num_tracker_ids": len(found_ids),
        "num_gt_dets": len(truth.id),
        "num_tracker_dets": len(found.id),
        "gt_ids": [truth_index[rows] for rows in truth_rows],
        "tracker_ids": [found_index[rows] for rows in found_rows],
        "similarity_scores": [
            iou_xywh(truth.boxes_xywh[left], found.boxes_xywh[right])
            for left, right in zip(truth_rows, found_rows, strict=True)
        ],
    }


def _check_ids(rows: MotRows, label: str) -> None:
    pairs, counts = np.unique(np.stack([rows.frame, rows.id], axis=1), axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = pairs[counts > 1][0]
        raise UserError(f"{label}: id {identity} occurs twice in frame {frame}; an id may occur once a frame")


def scores_table(scores: TrackingScores) -> str:
    """Return the scores of each sequence and of all together as a Markdown table, in percent."""
    parts = [[name, *_cells(part.as_dict())] for name, part in sorted(scores.sequences.items())]
    return markdown_table(["sequence", *_HEADINGS.values()], [*parts, ["all", *_cells(scores.as_dict())]])


def _cells(numbers: Mapping[str, float | int]) -> list[str]:
    return [str(numbers[name]) if name == "id_switches" else f"{100 * numbers[name]:.1f}" for name in _HEADINGS]
