"""Running a localizer over a stream or a video: results, JSON lines, a timeline picture and an annotated video."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from rich.console import Console

from mnemic_actions.checkpoints import RunOptions
from mnemic_actions.results import write_predictions
from mnemic_actions.timeline import Timeline, draw_timeline
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.session import Session
from mnemic_kit.atomic_files import atomic_path, atomic_write, writing_together
from mnemic_kit.figures import can_plot
from mnemic_kit.interruption import early_end
from mnemic_kit.made_files import check_outputs, note_output
from mnemic_kit.progress import frame_progress
from mnemic_vision.draw_actions import RecentActions, draw_actions
from mnemic_vision.matr import Action, DetectedAction, OnlineLocalizer
from mnemic_vision.matr.history import History, Moment
from mnemic_vision.video import Frame, VideoWriter

_ENDINGS = {"results": "json", "JSON lines": "jsonl", "timeline": "png", "video": "mp4"}


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        out: folder for the results.
        checkpoint: weights to run; None: the shipped ones that fit.
        options: how the network is run.
        every: use every N-th frame.
        session: file to continue from, if it exists, and to save to; None: the source is complete.
    """

    out: Path
    checkpoint: Path | None
    options: RunOptions
    every: int = 1
    session: Path | None = None

    def __post_init__(self) -> None:
        check_at_least(1, **{"--every": self.every})
        if self.session is not None and not self.session.parent.is_dir():
            folder = self.session.parent
            raise FileNotFoundError(f"cannot write {self.session}: the folder {folder} does not exist; create it first")

    @property
    def in_parts(self) -> bool:
        """Whether the source continues in another run."""
        return self.session is not None

    def resume(self, session: Session) -> None:
        """Continue from the file of an earlier run, if there is one.

        Raises:
            UserError: the file is of another model or other settings.
        """
        if self.session is not None and self.session.exists():
            session.load(self.session)

    def save(self, session: Session) -> None:
        """Save a session for the next part."""
        if self.session is not None:
            session.save(self.session)
            note_output(self.session)


@dataclass(frozen=True)
class Step:
    """What one frame of a source gave.

    Attributes:
        time: of the frame in seconds.
        moment: what the localizer saw; None at a frame of a video between two features.
        actions: emitted at this frame.
        image: the frame of a video.
    """

    time: float
    moment: Moment | None
    actions: list[DetectedAction]
    image: Frame | None = None


@dataclass(frozen=True)
class Job:
    """A source and what is known of it.

    Attributes:
        name: of the source in files and messages.
        steps: its frames, each run through the localizer when it is asked for.
        num_frames: how many; None if unknown.
        truth: annotated actions; None without annotation.
        duration: seconds; None: until the last frame.
        video: size in pixels, frames per second and shape of a pixel of the video to write; None for other streams.
        is_live: a camera, which Ctrl-C ends.
        finishes: whether the source ends here, so that actions that are held back are emitted.
    """

    name: str
    steps: Iterator[Step]
    num_frames: int | None
    truth: tuple[Action, ...] | None = None
    duration: float | None = None
    video: tuple[tuple[int, int], float, Fraction] | None = None
    is_live: bool = False
    finishes: bool = True


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        paths: the files that were written, by what they are.
        actions: in the order of their emission.
        history: what the localizer saw, in constant memory.
        num_frames: frames used.
        time: of the last frame in seconds.
        failure: why the source ended early; None when it was complete.
    """

    paths: dict[str, Path]
    actions: list[DetectedAction] = field(default_factory=list)
    history: History = field(default_factory=History)
    num_frames: int = 0
    time: float = 0.0
    failure: BaseException | None = None


def run_job(localizer: OnlineLocalizer, job: Job, out: Path, console: Console) -> Outcome:
    """Run a job and write its results, which appear together at the end, in the place of earlier ones.

    Ctrl-C ends the frames, not the files.

    Args:
        localizer: the one that the steps use.
        job: what to run.
        out: folder for the results; made when absent.
        console: shows progress and each action when it is known.

    Raises:
        UserError: the source ended early; the results up to there have been written.
        KeyboardInterrupt: a source that is no camera was interrupted; likewise.
    """
    outcome = Outcome({kind: out / f"{job.name}.{end}" for kind, end in _ENDINGS.items()})
    check_outputs(*outcome.paths.values())
    out.mkdir(parents=True, exist_ok=True)
    with writing_together():
        _write_results(localizer, job, outcome, console)
        write_predictions(outcome.paths["results"], {job.name: outcome.actions})
        _draw_timeline(localizer, job, outcome)
    _report(job, outcome, console)
    if outcome.failure is not None:
        raise outcome.failure
    return outcome


def _write_results(localizer: OnlineLocalizer, job: Job, outcome: Outcome, console: Console) -> None:
    """Write actions and video while they come."""
    with ExitStack() as stack:
        lines = stack.enter_context(atomic_write(outcome.paths["JSON lines"]))
        draw = stack.enter_context(_video_writer(job, outcome.paths["video"], localizer.classes))
        tick = stack.enter_context(frame_progress(job.name, job.num_frames, console))

        def emit(actions: list[DetectedAction]) -> None:
            outcome.actions += actions
            for action in actions:
                lines.write(json.dumps({**action.as_dict(), "delay": round(action.delay, 2)}) + "\n")
                console.print(describe(action), highlight=False, markup=False, soft_wrap=True)

        for step in _survive(job, outcome):
            tick()
            emit(step.actions)
            draw(step)
        if job.finishes:
            emit(localizer.finish())


def describe(action: DetectedAction) -> str:
    """Return an action as a line for people.

    Example:
        >>> describe(DetectedAction("jump", 0.912, start=10.2, end=12.1, emitted=12.5))
        '   12.5 s  jump  10.2 - 12.1 s  score 0.91  delay 0.4 s'
    """
    times = f"{action.start:.1f} - {action.end:.1f} s"
    return f"{action.emitted:7.1f} s  {action.label}  {times}  score {action.score:.2f}  delay {action.delay:.1f} s"


def observe(localizer: OnlineLocalizer) -> Moment:
    """Return what a localizer has seen with its last frame."""
    time = localizer.clock.time(localizer.num_frames - 1)
    return Moment(time, localizer.flag, localizer.windows_in_memory)


def _survive(job: Job, outcome: Outcome) -> Iterator[Step]:
    """Yield the steps; a damaged source or Ctrl-C ends them but not the files."""
    try:
        for step in job.steps:
            if step.moment is not None:
                outcome.history.add(step.moment)
            outcome.num_frames, outcome.time = outcome.num_frames + 1, step.time
            yield step
    except (UserError, OSError, KeyboardInterrupt) as error:
        if outcome.num_frames == 0:  # no results to keep
            raise
        outcome.failure = early_end(error, outcome.num_frames, is_live=job.is_live)


@contextmanager
def _video_writer(job: Job, path: Path, classes: tuple[str, ...]) -> Iterator[Callable[[Step], None]]:
    """Give the function that draws a step on its frame and writes it; it does nothing without a video."""
    if job.video is None:
        yield lambda step: None
        return
    recent = RecentActions(classes)
    with atomic_path(path) as temporary, VideoWriter(temporary, *job.video) as writer:

        def draw(step: Step) -> None:
            if step.moment is not None:
                recent.update(step.moment, step.actions)
            if step.image is not None:
                writer.write(draw_actions(step.image, recent, step.time))

        yield draw


def _draw_timeline(localizer: OnlineLocalizer, job: Job, outcome: Outcome) -> None:
    if can_plot():
        timeline = Timeline(
            duration=max(job.duration or 0.0, outcome.time),
            detected=outcome.actions,
            truth=job.truth,
            classes=localizer.classes,
            history=outcome.history.moments,
            flag_threshold=localizer.rule.flag,
            title=job.name,
        )
        draw_timeline(outcome.paths["timeline"], timeline)


def _report(job: Job, outcome: Outcome, console: Console) -> None:
    """Say how much was found and where the files are."""
    annotated = "" if job.truth is None else f", {len(job.truth)} annotated"
    lines = [f"{outcome.num_frames} frames, {len(outcome.actions)} actions{annotated}"]
    lines += [f"{kind}: {path}" for kind, path in outcome.paths.items() if path.exists()]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
