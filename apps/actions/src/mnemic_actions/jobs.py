"""The job of a feature stream, for `run_job`: its frames through a localizer."""

from collections.abc import Iterator
from pathlib import Path

from mnemic_actions.running import Job, Step, observe
from mnemic_core.session import Session
from mnemic_vision.matr import Clock, OnlineLocalizer
from mnemic_vision.matr.data import ActionStream


def clock_of(stream: ActionStream, every: int = 1) -> Clock:
    """Return when the frames of a stream are, if every N-th is used."""
    return Clock(every * stream.frame_time, stream.offset, stream.lookahead)


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


def continue_session(session: Session, file: Path | None) -> None:
    """Continue from a file of an earlier run, if there is one.

    Raises:
        FileNotFoundError: the folder of the file does not exist.
        UserError: the file is of another model or other settings.
    """
    if file is None:
        return
    if not file.parent.is_dir():
        raise FileNotFoundError(f"cannot write {file}: the folder {file.parent} does not exist; create it first")
    if file.exists():
        session.load(file)
