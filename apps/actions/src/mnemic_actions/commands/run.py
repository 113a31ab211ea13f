"""``mnemic-actions run``: find the actions of a feature stream, a video or a camera."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device

if TYPE_CHECKING:
    from mnemic_actions.checkpoints import RunOptions
    from mnemic_core.session import Session


def run(
    source: str,
    /,
    out: Path = Path("runs/run"),
    checkpoint: Path | None = None,
    extractor_weights: Path | None = None,
    frame_rate: float | None = None,
    every: int = 1,
    delay: float | None = None,
    score: float | None = None,
    without_memory: bool = False,
    session: Path | None = None,
    device: Device = "auto",
) -> None:
    """Find the actions of a stream while it runs; write json, JSON lines, a timeline picture and, of a video, an mp4.

    Every action is printed as soon as it is known. Where annotations.json in the folder of SOURCE, or in the one above,
    names the stream, the picture shows its annotated actions too.

    Args:
        source: feature stream (npy, npz with joints, imu or features, h5 with one or several streams) or folder of
            them; or, with a checkpoint that was trained on videos, a video file, folder of images or number of a camera
            (stop it with Ctrl-C).
        out: folder for the results; made when absent, and earlier results stay until the new ones are complete.
        checkpoint: weights to run; by default the shipped ones that take such streams.
        extractor_weights: file with the weights of the network that turns frames of a video into features.
        frame_rate: rows of the stream per second; by default that of its annotation, of the manifest that extract
            wrote, or of the training data. Videos know theirs.
        every: use every N-th frame.
        delay: hold actions back for so many seconds and emit the best of each; by default that of the checkpoint, 0 in
            the paper.
        score: least score of an action, 0 to 1; by default that of the checkpoint, 0.1 in the paper.
        without_memory: store no past window, to see what the memory contributes.
        session: file to continue the stream from, if it exists, and to save it to, for streams in several parts.
        device: where to run; auto takes a GPU where there is one.
    """
    if every < 1:
        raise UserError(f"--every must be at least 1, got {every}")
    from mnemic_actions.checkpoints import RunOptions
    from mnemic_actions.streams import is_stream_source
    from mnemic_kit.devices import find_device
    from mnemic_kit.made_files import check_outputs

    options = RunOptions(delay, score, without_memory, find_device(device))
    if session is not None:
        check_outputs(session)
    if is_stream_source(Path(source)):
        _run_streams(Path(source), out, checkpoint, options, frame_rate=frame_rate, every=every, session=session)
    else:
        _run_video(source, out, checkpoint, options, weights=extractor_weights, every=every, session=session)


def _run_streams(
    source: Path,
    out: Path,
    checkpoint: Path | None,
    options: "RunOptions",
    *,
    frame_rate: float | None,
    every: int,
    session: Path | None,
) -> None:
    """Run all streams of a source, one after the other; what is wrong with one does not stop the others."""
    from rich.console import Console

    from mnemic_actions.checkpoints import find_checkpoint, load_for_streams, note_rate
    from mnemic_actions.jobs import clock_of, continue_session, stream_job
    from mnemic_actions.problems import Problems
    from mnemic_actions.running import run_job
    from mnemic_actions.streams import check_length, open_source, timed_stream

    opened = open_source(source)
    kind, channels = opened.data.kind, opened.data.num_channels
    trained = load_for_streams(find_checkpoint(checkpoint, kind, channels), kind, channels)
    if session is not None and len(opened.data) > 1:
        raise UserError(f"--session continues one stream, but {source} has {len(opened.data)}: give a file of one")
    problems = Problems(opened.problems)
    for stream in opened.data:
        is_annotated = stream.name in opened.annotated
        with problems.collecting():
            timed = timed_stream(stream, source, frame_rate, None if is_annotated else trained.settings.frame_rate)
            if session is None:
                check_length(timed, trained.model.config.window * every)
            localizer = options.localizer(trained, clock_of(timed, every))
            continue_session(localizer, session)
            _show_note(note_rate(1 / localizer.clock.frame_time, trained.settings.frame_rate))
            job = stream_job(localizer, timed, every=every, is_annotated=is_annotated, in_parts=session is not None)
            run_job(localizer, job, out, Console())
            _save(localizer, session)
    problems.end("failed")


def _run_video(
    source: str,
    out: Path,
    checkpoint: Path | None,
    options: "RunOptions",
    *,
    weights: Path | None,
    every: int,
    session: Path | None,
) -> None:
    from rich.console import Console

    from mnemic_actions.checkpoints import note_rate
    from mnemic_actions.jobs import continue_session
    from mnemic_actions.running import run_job
    from mnemic_actions.video_jobs import open_video_localizer, video_job
    from mnemic_vision.matr import LocalizerCheckpoint
    from mnemic_vision.video import open_frames

    if checkpoint is None:
        raise UserError(
            f"{source} is not a feature stream (npy, npz, h5), and no checkpoint for videos is shipped: give one with "
            "--checkpoint"
        )
    trained = LocalizerCheckpoint.load(checkpoint)
    with open_frames(source) as frames:
        video = open_video_localizer(trained, checkpoint, weights, frames.frame_rate / every, options)
        continue_session(video, session)
        _show_note(note_rate(1 / video.localizer.clock.frame_time, trained.settings.frame_rate))
        job = video_job(video, frames, source, every=every, in_parts=session is not None)
        run_job(video.localizer, job, out, Console())
    _save(video, session)


def _show_note(note: str) -> None:
    if note:
        sys.stderr.write(f"{note}\n")


def _save(localizer: "Session", session: Path | None) -> None:
    from mnemic_kit.made_files import note_output

    if session is not None:
        localizer.save(session)
        note_output(session)
