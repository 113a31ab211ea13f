"""Scoring a tracker on sequences with ground truth."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_kit.output import show, show_json
from mnemic_kit.progress import frame_progress
from mnemic_track.iou_baseline import track_by_overlap
from mnemic_track.metrics import SequenceResult, TrackingScores, evaluate_sequences, scores_table
from mnemic_track.results import mot_writer, read_mot
from mnemic_track.sequences import ground_truth, results_of, track_sequence
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.data import TrackingSequence
from mnemic_vision.tracks import Track

DETECTION_SCORE = 0.7  # the overlap tracker uses detections above this


def check_classes(classes: Sequence[int], num_labels: int) -> None:
    """Raise UserError unless the classes are different ones that a tracker has labels for."""
    if not classes or len(set(classes)) < len(classes):
        raise UserError(f"--classes expects different class numbers, got {[*classes]}")
    if len(classes) > num_labels:
        raise UserError(f"--classes names {len(classes)} classes, but the tracker has labels for {num_labels}")


def evaluate_tracker(
    tracker: Tracker, sequences: Sequence[TrackingSequence], classes: Sequence[str], out: Path | None = None
) -> tuple[dict[str, Any], TrackingScores, MemoryReport]:
    """Return the scores of a tracker with its speed, and the report of its memory after the last frame.

    Args:
        tracker: reset before each sequence.
        sequences: with ground truth.
        classes: names of the labels that are scored.
        out: folder for a MOT text file of each sequence.
    """
    results: list[SequenceResult] = []
    seconds = {}
    for sequence in sequences:
        with frame_progress(sequence.name, sequence.num_frames, Console(stderr=True)) as tick:
            started = time.perf_counter()
            frames = []
            for tracks in track_sequence(tracker, sequence):
                frames.append(tracks)
                tick()
            seconds[sequence.name] = time.perf_counter() - started
        if out is not None:
            _write_mot(out / f"{sequence.name}.txt", frames)
        results += results_of(sequence, frames, classes)
    scores = evaluate_sequences(results)
    speed = {sequence.name: sequence.num_frames / seconds[sequence.name] for sequence in sequences}
    total = sum(sequence.num_frames for sequence in sequences) / sum(seconds.values())
    return _summary(scores, total, speed), scores, tracker.report()


def _write_mot(path: Path, frames: Sequence[Sequence[Track]]) -> None:
    with mot_writer(path) as write:
        for index, tracks in enumerate(frames):
            write(index, tracks)


def evaluate_baseline(data: Path, sequences: Sequence[TrackingSequence]) -> tuple[dict[str, Any], TrackingScores]:
    """Return the scores of the plain overlap tracker on the detections of each sequence."""
    results, seconds = [], 0.0
    for sequence in sequences:
        folder = data if (data / "img1").is_dir() else data / sequence.name
        detections = read_mot(folder / "det" / "det.txt", min_score=DETECTION_SCORE)
        started = time.perf_counter()
        found = track_by_overlap(detections)
        seconds += time.perf_counter() - started
        results.append(SequenceResult(sequence.name, ground_truth(sequence), found, sequence.others))
    scores = evaluate_sequences(results)
    total = sum(sequence.num_frames for sequence in sequences) / seconds
    return _summary(scores, total, {}) | {"checkpoint": None, "memory": None, "baseline": "overlap"}, scores


def _summary(scores: TrackingScores, speed: float, speeds: dict[str, float]) -> dict[str, Any]:
    """Return the scores and the speed under their names in ``scores.json``."""
    parts: dict[str, dict[str, float]] = {name: dict(part.as_dict()) for name, part in scores.sequences.items()}
    for name in parts.keys() & speeds.keys():  # with several classes, parts are called after them too
        parts[name]["frames_per_second"] = round(speeds[name], 3)
    return scores.as_dict() | {"frames_per_second": round(speed, 3), "sequences": parts}


def show_scores(summary: dict[str, Any], scores: TrackingScores, report: MemoryReport | None, *, as_json: bool) -> None:
    """Print the scores, and on request the summary as one line of JSON."""
    show(f"{summary['data']}, memory {summary['memory']}\n\n{scores_table(scores)}")
    show(f"{summary['frames_per_second']:.1f} frames per second")
    if report is not None:
        show(f"memory after the last frame\n{report.as_table()}")
    if as_json:
        show_json(summary)
