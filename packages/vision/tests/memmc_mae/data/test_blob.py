from dataclasses import replace

import numpy as np
import pytest

from mnemic_vision.memmc_mae.data.blob import Blob, draw_blob


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("bumps", [0.0, 0.12])
def test_a_shape_has_its_area_in_an_image_of_any_size(seed: int, bumps: float) -> None:
    blob = draw_blob(np.random.default_rng(seed), (0.01, 0.05), bumps=bumps)
    assert 0.01 <= blob.share <= 0.05
    inside = Blob(blob.share, blob.aspect, blob.angle, blob.bumps, (0.5, 0.5)).radii(300, 300) <= 1
    assert inside.mean() == pytest.approx(blob.share, rel=0.02)
    wide = Blob(blob.share, blob.aspect, blob.angle, blob.bumps, (0.35, 0.7)).radii(200, 400) <= 1
    assert wide.mean() == pytest.approx(blob.share, rel=0.02)


def test_an_ellipse_fulfills_its_equation() -> None:
    inside = Blob(0.05, aspect=2.0, angle=0.0).radii(100, 100) <= 1
    y, x = (np.indices((100, 100)) + 0.5) / 100 - 0.5
    squared = 0.05 / np.pi  # of the radius of the circle of this area
    assert np.array_equal(inside, x**2 / (2 * squared) + y**2 / (squared / 2) <= 1)


def test_opacity_is_one_half_at_the_contour_and_nothing_beyond_the_border() -> None:
    blob = Blob(0.05, bumps=((0.1, 0.3), (0.05, 2.0)))
    radii, opacity = blob.radii(128, 128), blob.opacity(128, 128, softness=0.2)
    assert np.array_equal(opacity >= 0.5, radii <= 1)
    assert opacity[radii > 1.2].max() == 0
    assert opacity[radii < 0.8].min() == 1


@pytest.mark.parametrize("center", [(0.5, 0.5), (0.02, 0.9)])
def test_the_window_holds_all_that_is_visible(center: tuple[float, float]) -> None:
    for seed in range(10):
        drawn = draw_blob(np.random.default_rng(seed), (0.01, 0.08), bumps=0.12)
        blob = replace(drawn, center=center)
        whole, window = blob.opacity(120, 90, 0.4), blob.window(120, 90, 0.4)
        assert np.array_equal(blob.opacity(120, 90, 0.4, window), whole[window])
        outside = whole.copy()
        outside[window] = 0
        assert outside.max() == 0
