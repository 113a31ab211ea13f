"""Running a tracker over complete sequences, and their ground truth in the form that metrics take."""

from collections.abc import Iterator, Sequence

import numpy as np

from mnemic_track.metrics import SequenceResult
from mnemic_track.results import MotRows
from mnemic_vision.memotr.data import TrackingSequence
from mnemic_vision.memotr.inference import Tracker
from mnemic_vision.tracks import Track


def track_sequence(tracker: Tracker, sequence: TrackingSequence) -> Iterator[list[Track]]:
    """Yield the tracks of each frame of a sequence, from a tracker that is reset before."""
    tracker.reset()
    for index in range(sequence.num_frames):
        yield tracker(sequence.image(index))


def results_of(
    sequence: TrackingSequence, frames: Sequence[Sequence[Track]], classes: Sequence[str]
) -> list[SequenceResult]:
    """Return a sequence with its tracks for scoring; with several classes one result each, named after both.

    Args:
        sequence: with ground truth. Frames that are not annotated are left out.
        frames: tracks of each frame.
        classes: names of the labels that are scored.
    """
    annotations = sequence.annotations
    labeled = [True] * len(frames) if annotations is None else annotations.labeled.tolist()
    scored = [tracks if is_labeled else [] for tracks, is_labeled in zip(frames, labeled, strict=True)]
    return [
        SequenceResult(
            sequence.name if len(classes) == 1 else f"{sequence.name}, {name}",
            ground_truth(sequence, label),
            as_rows([[track for track in tracks if track.label == label] for tracks in scored]),
            sequence.others,
        )
        for label, name in enumerate(classes)
    ]


def as_rows(frames: Sequence[Sequence[Track]]) -> MotRows:
    """Return the tracks of consecutive frames as the rows of a MOT file."""
    found = [(index + 1, track.id, *track.box) for index, tracks in enumerate(frames) for track in tracks]
    return MotRows.from_table(np.array(found, dtype=float).reshape(-1, 6))  # also without any track


def ground_truth(sequence: TrackingSequence, label: int | None = None) -> MotRows:
    """Return the annotated boxes of a sequence, of one label or of all, as the rows of a MOT file."""
    rows = [sequence.target_rows(index) for index in range(sequence.num_frames)]
    # MOT files count frames from 1.
    frames = np.repeat(np.arange(1, len(rows) + 1), [len(frame.ids) for frame in rows])
    boxes = np.concatenate([frame.boxes for frame in rows]).astype(np.float64)
    found = MotRows(frames, np.concatenate([frame.ids for frame in rows]), boxes)
    return found if label is None else found.select(np.concatenate([frame.labels for frame in rows]) == label)
