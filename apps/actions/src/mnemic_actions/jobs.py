"""Running the feature streams of a source: their frames through a localizer."""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from mnemic_actions.checkpoints import find_checkpoint, load_for_streams, note_rate
from mnemic_actions.running import Job, RunRequest, Step, observe, run_job
from mnemic_actions.streams import check_length, open_source, timed_stream
from mnemic_core.errors import UserError
from mnemic_kit.problems import Problems
from mnemic_vision.matr import Clock, LocalizerCheckpoint, OnlineLocalizer
from mnemic_vision.matr.data import ActionStream


def stream_job(
    localizer: OnlineLocalizer,
    stream: ActionStream,
    *,
    every: int = 1,
    is_annotated: bool = False,
    in_parts: bool = False,
) -> Job:
    """Return the job of a feature stream.

    Args:
        localizer: starts with its present memory.
        stream: is read when the first step is asked for.
        every: use every N-th frame.
        is_annotated: whether the actions of the stream are known.
        in_parts: the stream continues in another run; it has no annotation then, as only its part is known.
    """

    def steps() -> Iterator[Step]:
        for frame in stream.load()[::every]:
            actions = localizer.push(frame)
            moment = observe(localizer)
            yield Step(moment.time, moment, actions)

    return Job(
        stream.name,
        steps(),
        num_frames=-(-stream.num_frames // every),
        truth=stream.actions if is_annotated and not in_parts else None,
        duration=None if in_parts else stream.duration,
        finishes=not in_parts,
    )


def run_streams(source: Path, request: RunRequest, frame_rate: float | None) -> None:
    """Run all streams of a source, one after the other; what is wrong with one does not stop the others.

    Args:
        source: array file or folder of them.
        request: what to do.
        frame_rate: rows per second; None: from annotations, a manifest or the training data.

    Raises:
        UserError: the checkpoint does not fit, or the only stream cannot be used.
        SystemExit: streams or annotations could not be used; each was shown as a line.
    """
    opened = open_source(source)
    kind, channels = opened.data.kind, opened.data.num_channels
    trained = load_for_streams(find_checkpoint(request.checkpoint, kind, channels), kind, channels)
    if request.in_parts and len(opened.data) > 1:
        raise UserError(f"--session continues one stream, but {source} has {len(opened.data)}: give a file of one")
    problems = Problems(opened.problems)
    for stream in opened.data:
        is_annotated = stream.name in opened.annotated
        usual = None if is_annotated else trained.settings.frame_rate
        with problems.collecting():
            timed = timed_stream(stream, source, frame_rate, usual)
            _run_stream(timed, trained, request, is_annotated=is_annotated)
    problems.end("failed")


def _run_stream(stream: ActionStream, trained: LocalizerCheckpoint, request: RunRequest, *, is_annotated: bool) -> None:
    if not request.in_parts:
        check_length(stream, trained.model.config.window * request.every)
    localizer = request.options.localizer(trained, Clock.of(stream, request.every))
    request.resume(localizer)
    show_rate(localizer.clock, trained)
    job = stream_job(localizer, stream, every=request.every, is_annotated=is_annotated, in_parts=request.in_parts)
    run_job(localizer, job, request.out, Console())
    request.save(localizer)


def show_rate(clock: Clock, trained: LocalizerCheckpoint) -> None:
    """Write a note if frames come at a rate far from that of the training."""
    if note := note_rate(1 / clock.frame_time, trained.settings.frame_rate):
        sys.stderr.write(f"{note}\n")
