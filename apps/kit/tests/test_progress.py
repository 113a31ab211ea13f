import io

from rich.console import Console

from mnemic_kit.progress import frame_progress


def show(total: int | None, frames: int) -> str:
    text = io.StringIO()
    with frame_progress("walk [1]", total, Console(file=text, width=100)) as tick:
        for _ in range(frames):
            tick()
    return text.getvalue()


def test_the_bar_counts_frames_and_keeps_brackets_of_the_title() -> None:
    shown = show(3, frames=2)
    assert "walk [1]" in shown
    assert "2/3" in shown


def test_the_number_of_frames_may_be_unknown() -> None:
    assert "2/?" in show(None, frames=2)
