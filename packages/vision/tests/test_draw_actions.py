from dataclasses import replace

import numpy as np
import pytest

from mnemic_core.errors import UserError
from mnemic_vision.draw_actions import RecentActions, color_of_class, draw_actions
from mnemic_vision.matr.actions import DetectedAction
from mnemic_vision.matr.history import Moment

CLASSES = ("walk", "jump", "carry")
JUMP = DetectedAction("jump", 1.0, start=4.0, end=6.0, emitted=6.5)
WALK = DetectedAction("walk", 1.0, start=5.0, end=8.0, emitted=8.0)


def recent_with(*actions: DetectedAction, seconds: float = 10.0, flag: float = 0.0) -> RecentActions:
    recent = RecentActions(CLASSES, seconds)
    for time in np.arange(0, 10.01, 0.5).tolist():
        recent.update(Moment(time, flag, stored=1), [action for action in actions if action.emitted == time])
    return recent


def gray(width: int = 400, height: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def columns(drawn: np.ndarray, label: str) -> tuple[int, int]:
    """Return the first and last column in which the timeline has the color of a class."""
    found = np.nonzero((drawn[-50:] == color_of_class(label, CLASSES)).all(-1).any(0))[0]
    return (int(found[0]), int(found[-1])) if len(found) else (-1, -1)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 64), (2, 300), (1280, 720), (3840, 2160)])
def test_size_and_type_of_a_frame_stay(size: tuple[int, int]) -> None:
    image = gray(*size)
    drawn = draw_actions(image, recent_with(JUMP, WALK, flag=0.7), now=10.0)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == 128).all()


def test_a_bar_lies_where_its_action_was_and_moves_to_the_left() -> None:
    recent = recent_with(JUMP)
    assert columns(draw_actions(gray(), recent, now=10.0), "jump") == pytest.approx((160, 239), abs=1)
    assert columns(draw_actions(gray(), recent, now=11.0), "jump") == pytest.approx((120, 199), abs=1)


def test_the_action_is_drawn_from_its_emission_until_it_leaves() -> None:
    recent = RecentActions(CLASSES, seconds=10.0)
    recent.update(Moment(6.0, 0.9, 0))
    assert columns(draw_actions(gray(), recent, now=6.0), "jump") == (-1, -1)
    recent.update(Moment(6.5, 0.9, 0), [JUMP])
    assert columns(draw_actions(gray(), recent, now=6.5), "jump")[0] >= 0
    recent.update(Moment(17.0, 0.1, 0))
    assert recent.actions == []


def test_overlapping_actions_are_in_different_rows() -> None:
    recent = recent_with(JUMP, WALK, replace(WALK, label="carry", start=8.0, end=9.0, emitted=9.0))
    assert [lane for _, lane in recent.bars] == [0, 1, 0]
    drawn = draw_actions(gray(), recent, now=10.0)[-50:]
    rows = [set(np.nonzero((drawn == color_of_class(name, CLASSES)).all(-1))[0]) for name in ("jump", "walk")]
    assert rows[0]
    assert rows[1]
    assert not rows[0] & rows[1]


def test_the_curve_is_higher_with_the_probability() -> None:
    empty = draw_actions(gray(), recent_with(), now=10.0)
    changed = [
        (draw_actions(gray(), recent_with(flag=flag), now=10.0) != empty).any(-1).sum() for flag in (0.3, 0.6, 1.0)
    ]
    assert changed[0] < changed[1] < changed[2]


def test_moments_are_dropped_when_they_leave_the_picture() -> None:
    recent = recent_with(seconds=2.0)
    assert [moment.time for moment in recent.moments] == [8.0, 8.5, 9.0, 9.5, 10.0]


def test_captions_name_the_latest_actions_and_fade() -> None:
    fresh, old = (draw_actions(gray(), recent_with(JUMP, WALK), now)[:60] for now in (8.0, 17.0))
    assert (fresh == color_of_class("walk", CLASSES)).all(-1).sum() > 100
    contrast = [np.abs(drawn.astype(int) - 128).sum() for drawn in (fresh, old)]
    assert 0 < contrast[1] < contrast[0]


def test_a_small_frame_has_one_caption_and_a_large_one_three() -> None:
    actions = [replace(WALK, label=label, emitted=8.0 + place / 2) for place, label in enumerate(CLASSES)]
    heights = []
    for side in (64, 640):
        drawn = draw_actions(gray(side, side), recent_with(*actions), now=9.0)[: side // 2]
        plates = [(drawn == color_of_class(label, CLASSES)).all(-1).any() for label in ("walk", "carry")]
        heights.append(np.nonzero((drawn != 128).any((1, 2)))[0].max())
        assert plates[1]
    assert heights[0] <= 0.4 * 64
    assert heights[1] > 100


def test_other_classes_share_a_color_of_their_own() -> None:
    colors = [color_of_class(label, CLASSES) for label in (*CLASSES, "crawl", "climb")]
    assert len(set(colors)) == len(CLASSES) + 1
    assert colors[-1] == colors[-2]


def test_a_timeline_needs_a_length() -> None:
    with pytest.raises(UserError, match="seconds must be between"):
        RecentActions(CLASSES, seconds=0.0)
