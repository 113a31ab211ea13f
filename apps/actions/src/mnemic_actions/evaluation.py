"""Scoring a localizer on annotated streams."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from mnemic_actions.checkpoints import RunOptions
from mnemic_actions.options import Order
from mnemic_actions.streams import ANNOTATIONS, check_length
from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_kit.output import show
from mnemic_kit.problems import Problems
from mnemic_kit.progress import frame_progress
from mnemic_vision.matr import Action, Clock, DetectedAction, LocalizerCheckpoint, OnlineLocalizer
from mnemic_vision.matr.data import ActionStream, ActionStreams, FeatureSet, muses, shuffle_order, thumos14
from mnemic_vision.matr.data.annotations import read_annotation_file
from mnemic_vision.matr.metrics import LocalizationScores, evaluate_actions, scores_tables

ORDER_SEEDS = (0, 1)
ALL = "all"
_TRAINING = {"train", "training"}
STREAMED_FRAMES = 1000  # at most, to measure the speed frame by frame


@dataclass
class Evaluation:
    """What an evaluation found.

    Attributes:
        truths: annotated actions by stream.
        predictions: detected actions by stream.
        seconds: of computing, in batches of windows.
        frames: that took this time.
        real_time_factor: seconds of computing per second of a stream, frame by frame.
        streamed: name of the stream with which that was measured.
    """

    truths: dict[str, tuple[Action, ...]] = field(default_factory=dict)
    predictions: dict[str, list[DetectedAction]] = field(default_factory=dict)
    seconds: float = 0.0
    frames: int = 0
    real_time_factor: float | None = None
    streamed: str | None = None

    def add(self, name: str, stream: ActionStream, localizer: OnlineLocalizer, tick: Callable[[], None]) -> None:
        """Run a stream in batches of windows, and the first stream frame by frame too."""
        frames, found = stream.load(), []
        started = time.perf_counter()
        for known in localizer.follow(frames):
            found += known.actions
            tick()
        self.seconds += time.perf_counter() - started
        self.frames += len(frames)
        self.truths[name], self.predictions[name] = stream.actions, found
        if self.streamed is None:
            self.streamed, part = name, frames[:STREAMED_FRAMES]
            localizer.push(part[0])  # makes what frames need once
            localizer.reset()
            started = time.perf_counter()
            for frame in part:
                localizer.push(frame)
            self.real_time_factor = (time.perf_counter() - started) / (len(part) * stream.frame_time)

    def scores(self) -> LocalizationScores:
        """Return the scores of all streams."""
        return evaluate_actions(self.truths, self.predictions)


def find_data(folder: Path) -> FeatureSet:
    """Return the data set in a folder, with ``annotations.json`` or in the layout of THUMOS14 or MUSES.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one with {ANNOTATIONS} and its streams")
    for known in (thumos14(folder), muses(folder)):
        if known.annotations.is_file():
            return known
    return FeatureSet(folder / ANNOTATIONS, (folder,), ignored_labels=())


def choose_subsets(data: FeatureSet, split: str | None) -> list[str | None]:
    """Return the subsets to evaluate; None stands for all streams.

    Args:
        data: the data set.
        split: name of a subset; ``"all"``; None: those that are not for training, or all if there are no others.

    Raises:
        FileNotFoundError: there are no annotations.
        UserError: the annotations are malformed.
    """
    if split is not None:
        return [None if split == ALL else split]
    videos = read_annotation_file(data.annotations, on_problem=lambda problem: None).videos
    unseen = sorted({video.subset for video in videos} - _TRAINING)
    return [*unseen] if unseen else [None]


def open_subsets(data: FeatureSet, subsets: Sequence[str | None], problems: Problems) -> ActionStreams:
    """Return the streams of subsets; what cannot be used goes to the problems, each once.

    Raises:
        UserError: there is no stream.
        SystemExit: no stream can be used; each problem was shown as a line.
    """
    faults: list[UserError] = []
    opened = [data.open(subset, on_problem=faults.append) for subset in subsets]
    problems.found += {str(fault): fault for fault in faults}.values()  # those of annotations come with every subset
    used = [each for each in opened if each.streams]
    if not used:
        problems.end("left out")
        raise UserError(f"{data.annotations} names no streams: give the folder of another data set")
    return replace(used[0], streams=[stream for each in used for stream in each])


def evaluate_streams(
    checkpoint: LocalizerCheckpoint, data: ActionStreams, order: Order, options: RunOptions, problems: Problems
) -> Evaluation:
    """Return what a network finds in streams; those that cannot be used go to the problems.

    Raises:
        UserError: the only stream cannot be used.
        SystemExit: no stream can be used; each problem was shown as a line.
    """
    evaluation, kind = Evaluation(), checkpoint.settings.inputs.kind
    seeds: tuple[int | None, ...] = ORDER_SEEDS if order == "shuffled" else (None,)
    total = len(seeds) * sum(stream.num_frames for stream in data)
    with frame_progress(f"{len(data)} streams", total, Console(stderr=True)) as tick:
        for stream in data:
            with problems.collecting():
                _check_stream(stream, checkpoint)
                read = stream.in_memory()
                for seed in seeds:
                    shown = read if seed is None else shuffle_order(read, kind, seed)
                    name = stream.name if seed is None else f"{stream.name}, order {seed}"
                    localizer = options.localizer(checkpoint, Clock.of(shown))
                    evaluation.add(name, shown, localizer, tick)
    if not evaluation.truths:
        problems.end("left out")
    return evaluation


def _check_stream(stream: ActionStream, checkpoint: LocalizerCheckpoint) -> None:
    check_length(stream, checkpoint.model.config.window)
    classes = checkpoint.settings.classes
    unknown = sorted({action.label for action in stream.actions}.difference(classes))
    if unknown:
        raise UserError(
            f"stream {stream.name} has the labels {name_some(unknown)}, which the checkpoint does not know: its "
            f"classes are {name_some(classes)}"
        )


def summarize(scores: LocalizationScores, evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores and figures under their names in ``scores.json``."""
    return scores.as_dict() | {
        "real_time_factor": evaluation.real_time_factor,
        "real_time_measured": f"frame by frame, {evaluation.streamed}",
        "batched_frames_per_second": round(evaluation.frames / evaluation.seconds, 1),
        "num_streams": len(evaluation.truths),
        "num_actions": scores.counts.truths,
        "num_predictions": scores.counts.predictions,
    }


def describe(checkpoint: LocalizerCheckpoint, options: RunOptions) -> dict[str, Any]:
    """Return what was evaluated under its names in ``scores.json``."""
    rule = options.rule(checkpoint)
    return {
        "memory": checkpoint.model.config.memory.name,
        "classes": list(checkpoint.settings.classes),
        "delay": rule.delay,
        "min_score": rule.score,
    }


def show_evaluation(summary: Mapping[str, Any], scores: LocalizationScores) -> None:
    """Print the scores and the speed as tables."""
    used = f"subsets {', '.join(summary['split'])}, order {summary['order']}, checkpoint {summary['checkpoint']}"
    show(f"{summary['data']}, {used}\n\n{scores_tables(scores)}\n")
    batched = f"in batches {summary['batched_frames_per_second']:.0f} frames per second"
    show(f"real-time factor {summary['real_time_factor']:.4f} ({summary['real_time_measured']}); {batched}")
