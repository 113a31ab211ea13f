import colorsys
from itertools import combinations

import numpy as np
import pytest

from mnemic_vision.draw import Trails, color_of, draw_tracks
from mnemic_vision.tracks import Track

WIDTH, HEIGHT = 160, 120


def track(identity: int, x: float = 60.0, y: float = 50.0, side: float = 40.0) -> Track:
    return Track(identity, label=0, score=0.87, box=(x, y, side, side))


def gray(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def changed(drawn: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    return (drawn != (gray() if image is None else image)).any(axis=-1)


def test_a_box_is_drawn_along_its_edge_in_the_color_of_its_track() -> None:
    drawn = draw_tracks(gray(), [track(5)])
    np.testing.assert_array_equal(drawn[70, 60], color_of(5))
    assert not changed(drawn)[65:75, 70:90].any()
    assert not changed(drawn)[100:].any()


def test_the_given_image_stays_as_it_is() -> None:
    image = gray()
    draw_tracks(image, [track(1)])
    assert (image == 128).all()


def test_no_tracks_give_an_equal_image() -> None:
    np.testing.assert_array_equal(draw_tracks(gray(), []), gray())


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (2, 300), (1920, 1080)])
def test_images_of_any_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    image = gray(*size)
    drawn = draw_tracks(image, [track(1, 0.2, 0.2, 0.6), track(2, -5.0, -5.0, 3000.0)])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8


@pytest.mark.parametrize("box", [(500.0, 500.0, 9.0, 9.0), (-1e12, -1e12, 2e12, 2e12), (80.0, 60.0, 0.0, 0.0)])
def test_boxes_outside_the_image_and_without_area_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    assert draw_tracks(gray(), [Track(1, 0, 0.5, box)]).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("corner", [(-30.0, -30.0), (150.0, -30.0), (150.0, 110.0), (-30.0, 110.0)])
def test_a_label_stays_within_the_image(corner: tuple[float, float]) -> None:
    framed = draw_tracks(gray(), [track(3, *corner)])
    plate = (framed == color_of(3)).all(axis=-1)
    assert plate.sum() > 100


def test_labels_of_neighbors_do_not_hide_each_other() -> None:
    alone = [
        (draw_tracks(gray(), [track(i, x=x)]) == color_of(i)).all(axis=-1).sum() for i, x in ((1, 50.0), (2, 60.0))
    ]
    both = draw_tracks(gray(), [track(1, x=50.0), track(2, x=60.0)])
    together = [(both[:48] == color_of(i)).all(axis=-1).sum() for i in (1, 2)]
    assert min(together) > 0.5 * min(alone)


def test_lines_and_letters_grow_with_the_image() -> None:
    areas = []
    for scale in (1, 2):
        image = gray(800 * scale, 600 * scale)
        areas.append(changed(draw_tracks(image, [track(1, 200.0 * scale, 200.0 * scale, 200.0 * scale)]), image).sum())
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.15)


def test_names_and_scores_lengthen_the_label() -> None:
    plain, named = (draw_tracks(gray(), [track(1)], names=names) for names in (None, ["pedestrian"]))
    assert changed(named).sum() > changed(plain).sum()


def test_lost_tracks_are_fainter() -> None:
    seen, lost = draw_tracks(gray(), [track(1)]), draw_tracks(gray(), [], lost=[track(1)])
    contrast = [np.abs(drawn[70, 60].astype(int) - 128).sum() for drawn in (seen, lost)]
    assert 0 < contrast[1] < 0.7 * contrast[0]


def test_a_trail_is_strongest_at_its_newest_point() -> None:
    trails = Trails(length=20)
    for x in range(0, 140, 10):
        trails.update([track(1, x=float(x), y=60.0, side=4.0)])
    assert (draw_tracks(gray(), [], trails=trails) == gray()).all()  # it ends with its track
    drawn = draw_tracks(gray(), [track(1, x=150.0, y=5.0, side=4.0)], trails=trails)
    contrast = np.abs(drawn[62, 10:130].astype(int) - 128).sum(axis=-1)
    assert contrast[5] > 0
    assert (np.diff(contrast[5::20]) > 0).all()


def test_a_trail_keeps_no_point_older_than_its_length() -> None:
    trails = Trails(length=3)
    for frame in range(6):
        trails.update([track(1, x=float(frame))])
    assert trails.points(1) == [(frame + 20.0, 70.0) for frame in (3, 4, 5)]
    assert trails.freshness(1) == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_gap_counts_as_time_and_a_vanished_track_is_forgotten() -> None:
    trails = Trails(length=4)
    for tracks in ([track(1), track(2)], [], [track(1)], []):
        trails.update(tracks)
    assert trails.freshness(1) == pytest.approx([1 / 4, 3 / 4])
    trails.update([])
    assert trails.ids == [1]
    for _ in range(3):
        trails.update([])
    assert trails.ids == []
    assert trails.points(1) == []


def test_a_trail_needs_a_length() -> None:
    with pytest.raises(ValueError, match="length must be at least 1 frame, got 0"):
        Trails(0)


def test_colors_of_neighboring_ids_differ_clearly() -> None:
    for first in (0, 100, 12345):
        hues = [colorsys.rgb_to_hsv(*(value / 255 for value in color_of(first + step)))[0] for step in range(6)]
        gaps = [min(abs(a - b), 1 - abs(a - b)) for a, b in combinations(hues, 2)]
        assert min(gaps) > 0.08


def test_a_color_depends_on_the_id_alone() -> None:
    assert color_of(7) == color_of(7)
    assert len({color_of(identity) for identity in range(200)}) > 195
