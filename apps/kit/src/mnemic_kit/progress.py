"""Progress bar of a command that goes through frames."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


@contextmanager
def frame_progress(title: str, total: int | None, console: Console) -> Iterator[Callable[[], None]]:
    """Show a bar with frames per second; gives the function that counts one frame.

    Args:
        title: before the bar.
        total: frames; None if unknown, as for a camera.
        console: where to show it.
    """
    title_column = TextColumn("{task.description}", markup=False)  # file names may contain brackets
    columns = (title_column, BarColumn(), MofNCompleteColumn(), _Speed(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")
