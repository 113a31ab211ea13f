"""Progress bars of commands: of frames or other items, and of seconds of audio."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


@contextmanager
def frame_progress(
    title: str, total: int | None, console: Console, unit: str = "frames"
) -> Iterator[Callable[[], None]]:
    """Show a bar with frames per second; gives the function that counts one frame.

    Args:
        title: before the bar.
        total: frames; None if unknown, as for a camera.
        console: where to show it.
        unit: what the items are called.
    """
    with _bar(title, total, console, MofNCompleteColumn(), _Speed(unit)) as advance:
        yield lambda: advance(1)


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


@contextmanager
def audio_progress(title: str, seconds: float | None, console: Console) -> Iterator[Callable[[float], None]]:
    """Show a progress bar with the real-time factor; yields a function that adds seconds of audio."""
    with _bar(title, seconds, console, _Seconds(), _RealTimeFactor()) as advance:
        yield advance


@contextmanager
def _bar(
    title: str, total: float | int | None, console: Console, *own: ProgressColumn
) -> Iterator[Callable[[float], None]]:
    """Show a bar with columns of its own between title and time; gives the function that advances it."""
    title_column = TextColumn("{task.description}", markup=False)  # file names may contain brackets
    with Progress(title_column, BarColumn(), *own, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:.0f}{'' if task.total is None else f'/{task.total:.0f}'} s of audio")


class _RealTimeFactor(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed = task.finished_time or task.elapsed  # frozen once finished
        return Text(f"real-time factor {elapsed / task.completed:.3f}" if elapsed and task.completed else "")
