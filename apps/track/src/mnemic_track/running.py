"""Tracking the frames of a source: an annotated video, MOT text, JSON lines and a plot of the memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_path, writing_together
from mnemic_kit.interruption import early_end
from mnemic_kit.made_files import check_outputs
from mnemic_kit.progress import frame_progress
from mnemic_track.plots import plot_memory
from mnemic_track.results import json_lines_writer, mot_writer
from mnemic_vision.draw import Trails, draw_tracks
from mnemic_vision.memotr import Tracker
from mnemic_vision.tracks import Track
from mnemic_vision.video import FrameSource, VideoWriter

HISTORY_LENGTH = 1024


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        paths: the files that were written.
        num_frames: frames used.
        identities: ids of all objects seen.
        history: use of the memory at up to `HISTORY_LENGTH` evenly spaced frames, however long the source is.
        report: use of the memory at the last frame.
        failure: why the source ended early; None when it was complete.
    """

    paths: dict[str, Path]
    num_frames: int = 0
    identities: set[int] = field(default_factory=set)
    history: list[dict[str, Any]] = field(default_factory=list)
    report: MemoryReport | None = None
    failure: BaseException | None = None
    _stride: int = 1

    def count(self, tracker: Tracker, tracks: list[Track]) -> None:
        """Add the tracks of one more frame."""
        self.identities.update(track.id for track in tracks)
        self.report = tracker.report()
        if self.num_frames % self._stride == 0:
            entry = {"frame": self.num_frames, "tracks": int(tracker.state.valid.sum())}
            self.history.append(self.report.as_dict() | entry)
        if len(self.history) == HISTORY_LENGTH:  # every second one is enough from here on
            self.history, self._stride = self.history[::2], 2 * self._stride
        self.num_frames += 1


def run_frames(
    tracker: Tracker, source: FrameSource, out: Path, *, every: int = 1, names: tuple[str, ...] | None = None
) -> Outcome:
    """Track the frames of a source and write the results.

    Args:
        tracker: starts with its present memory.
        source: frames.
        out: folder for the results.
        every: use every N-th frame.
        names: name of each class, drawn next to the identity.

    All files appear together at the end, in the place of earlier ones. Ctrl-C ends the frames, not the files.

    Raises:
        UserError: the source ended early; the results up to there have been written.
        KeyboardInterrupt: a film was interrupted; likewise.
    """
    outcome = Outcome({kind: out / f"{source.name}.{end}" for kind, end in _ENDINGS.items()})
    check_outputs(*outcome.paths.values())
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    with writing_together():
        _write_results(tracker, source, every, outcome, names, console)
        if outcome.report is not None and outcome.report.capacity:
            plot_memory(outcome.history, outcome.paths["memory plot"])
    _report(outcome, console)
    if outcome.failure is not None:
        raise outcome.failure
    return outcome


def _write_results(
    tracker: Tracker,
    source: FrameSource,
    every: int,
    outcome: Outcome,
    names: tuple[str, ...] | None,
    console: Console,
) -> None:
    """Write video, MOT text and JSON lines frame by frame."""
    rate = source.frame_rate / every
    with ExitStack() as stack:
        video_path = stack.enter_context(atomic_path(outcome.paths["video"]))
        video = stack.enter_context(VideoWriter(video_path, source.size, rate, source.pixel_shape))
        write_mot = stack.enter_context(mot_writer(outcome.paths["MOT text"]))
        write_json = stack.enter_context(json_lines_writer(outcome.paths["JSON lines"]))
        tick = stack.enter_context(frame_progress(source.name, _used(source.num_frames, every), console))
        trails = Trails(length=max(1, round(2 * rate)))  # two seconds
        for frame, tracks in _tracked(tracker, source, every, outcome):
            tick()
            trails.update(tracks)
            video.write(draw_tracks(frame, tracks, trails=trails, names=names), source.time)
            write_mot(outcome.num_frames, tracks)
            write_json(outcome.num_frames, source.time, tracks)
            outcome.count(tracker, tracks)


_ENDINGS = {"video": "mp4", "MOT text": "txt", "JSON lines": "jsonl", "memory plot": "memory.png"}


def _used(total: int | None, every: int) -> int | None:
    return None if total is None else -(-total // every)


def _tracked(
    tracker: Tracker, source: FrameSource, every: int, outcome: Outcome
) -> Iterator[tuple[np.ndarray, list[Track]]]:
    """Yield frames with their tracks; a damaged source or Ctrl-C ends the frames but not the files."""
    try:
        for index, frame in enumerate(source):
            if index % every == 0:
                yield frame, tracker(frame)
    except (UserError, OSError, KeyboardInterrupt) as error:
        if outcome.num_frames == 0:  # no results to keep
            raise
        outcome.failure = early_end(error, outcome.num_frames, is_live=source.num_frames is None)


def _report(outcome: Outcome, console: Console) -> None:
    """Print what the memory did, and say where the files are."""
    console.print(f"{outcome.num_frames} frames, {len(outcome.identities)} identities", highlight=False)
    if outcome.report is not None and outcome.report.capacity:
        console.print(f"memory after the last frame\n{outcome.report.as_table()}", highlight=False)
    for kind, path in outcome.paths.items():
        if path.exists():
            console.print(f"{kind}: {path}", highlight=False, soft_wrap=True)
