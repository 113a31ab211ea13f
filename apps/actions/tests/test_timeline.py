from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnemic_actions.timeline import Timeline, draw_timeline
from mnemic_vision.draw import color_of
from mnemic_vision.matr.actions import Action, DetectedAction
from mnemic_vision.matr.history import Moment

pytest.importorskip("matplotlib", reason="needs mnemic-actions[plots]")

CLASSES = ("walk", "run", "jump")
DETECTED = [DetectedAction("jump", 0.5, start=-1.0, end=4.0, emitted=5.5)]
TRUTH = [Action("jump", 1.0, 4.0), Action("walk", 6.0, 9.0)]
HISTORY = [Moment(float(second), flag=second / 10, stored=second // 3) for second in range(10)]
TIMELINE = Timeline(10.0, DETECTED, TRUTH, CLASSES, HISTORY, title="stream one")


def texts(timeline: Timeline, folder: Path) -> set[str]:
    draw_timeline(folder / "a.svg", timeline)
    lines = (folder / "a.svg").read_text().splitlines()
    return {line.strip().removeprefix("<!-- ").removesuffix(" -->") for line in lines if "<!-- " in line}


def picture(timeline: Timeline, folder: Path) -> np.ndarray:
    draw_timeline(folder / "a.png", timeline)
    with Image.open(folder / "a.png") as image:
        return np.asarray(image.convert("RGB"))


def extent(pixels: np.ndarray, color: tuple[float, ...]) -> tuple[int, int]:
    """Return width and height of the area in which a color is."""
    rows, columns = np.nonzero((np.abs(pixels.astype(int) - np.array(color)) <= 1).all(-1))
    return (0, 0) if len(rows) == 0 else (int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def test_only_classes_that_occur_have_a_row(tmp_path: Path) -> None:
    assert set(CLASSES) & texts(TIMELINE, tmp_path) == {"walk", "jump"}
    assert TIMELINE.rows == ["walk", "jump"]
    assert replace(TIMELINE, truth=None).rows == ["jump"]


def test_a_class_that_is_not_listed_gets_the_last_row() -> None:
    assert replace(TIMELINE, truth=[Action("crawl", 0.0, 1.0)]).rows == ["jump", "crawl"]


def test_panels_of_the_history_are_there_when_it_is(tmp_path: Path) -> None:
    axes = {"probability", "windows"}
    assert axes <= texts(TIMELINE, tmp_path)
    assert not axes & texts(replace(TIMELINE, history=()), tmp_path)


def test_bars_are_as_long_as_their_actions(tmp_path: Path) -> None:
    pixels = picture(TIMELINE, tmp_path)
    walk, jump = (extent(pixels, color_of(place))[0] for place in (0, 2))
    assert walk == pytest.approx(jump, abs=2)
    opacity = 0.25 + 0.75 * 0.5
    faint = tuple(opacity * channel + (1 - opacity) * 255 for channel in color_of(2))
    assert extent(pixels, faint)[0] == pytest.approx(walk * 4 / 3, abs=4)  # cut at the beginning of the stream


def test_overlapping_actions_of_a_class_share_the_height_of_its_row(tmp_path: Path) -> None:
    first = replace(DETECTED[0], score=1.0)
    alone, beside = (replace(TIMELINE, truth=None, detected=actions) for actions in ([first], [first, first, first]))
    second = replace(first, start=4.0, end=8.0, emitted=8.5)
    heights = [extent(picture(each, tmp_path), color_of(2))[1] for each in (alone, beside)]
    assert heights[0] == pytest.approx(heights[1], rel=0.1)
    one_lane = replace(TIMELINE, truth=None, detected=[first, second])
    columns = [extent(picture(each, tmp_path), color_of(2))[0] for each in (alone, one_lane)]
    assert columns[1] == pytest.approx(2 * columns[0], abs=4)


def test_an_action_of_a_second_is_visible_in_an_hour(tmp_path: Path) -> None:
    short = replace(TIMELINE, duration=3600.0, truth=[Action("walk", 1800.0, 1801.0)])
    width, height = extent(picture(short, tmp_path), color_of(0))
    assert width >= 2
    assert height >= 8


def test_longer_streams_get_wider_pictures(tmp_path: Path) -> None:
    widths = [picture(replace(TIMELINE, duration=float(end)), tmp_path).shape[1] for end in (10, 600, 3600, 90_000)]
    assert widths == sorted(widths)
    assert widths[0] < widths[2]
    assert widths[3] <= 2560


def test_a_stream_without_actions_says_so(tmp_path: Path) -> None:
    assert "no actions" in texts(Timeline(0.0, [], None, CLASSES), tmp_path)
    assert "annotated (upper bar)" not in texts(replace(TIMELINE, truth=None), tmp_path)


@pytest.mark.parametrize(("duration", "label"), [(60.0, "25"), (600.0, "5:00"), (7200.0, "1:00:00")])
def test_times_are_as_short_as_the_length_allows(tmp_path: Path, duration: float, label: str) -> None:
    assert label in texts(replace(TIMELINE, duration=duration), tmp_path)
