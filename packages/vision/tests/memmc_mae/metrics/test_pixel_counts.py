import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic_vision.memmc_mae.metrics import PixelCounts, mean_error_ratio
from mnemic_vision.memmc_mae.metrics.pixel_counts import level_scores


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_levels_are_ordered_and_just_below_their_scores(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    counts = PixelCounts.of(scores[None], np.zeros((1, len(scores)), dtype=bool))
    levels = level_scores(counts.key)
    assert (np.diff(levels) > 0).all()
    rounded = np.repeat(levels, counts.normal)
    ordered = np.sort(scores).astype(np.float64)
    assert (rounded <= ordered).all()
    assert (ordered - rounded <= 2**-11 * np.abs(ordered) + 1e-30).all()


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_counts_at_or_above_a_level_are_exact(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    counts = PixelCounts.of(scores[None], np.ones((1, len(scores)), dtype=bool))
    for level, above in zip(level_scores(counts.key), counts.anomalous[::-1].cumsum()[::-1], strict=True):
        assert (scores >= level).sum() == above


def test_negative_zero_is_zero() -> None:
    counts = PixelCounts.of(np.array([[0.0, -0.0]]), np.array([[True, False]]))
    assert counts.key.tolist() == [0]


def test_large_image_has_bounded_counts() -> None:
    rng = np.random.default_rng(0)
    counts = PixelCounts.of(rng.random((1024, 1024), dtype=np.float32), rng.random((1024, 1024)) < 0.1)
    assert counts.key.nbytes + counts.normal.nbytes + counts.anomalous.nbytes + counts.overlap.nbytes < 1_500_000
    assert counts.normal.sum() + counts.anomalous.sum() == 1024**2


def test_the_error_ratio_is_that_of_the_means_over_all_images() -> None:
    first = PixelCounts.of(np.array([[1.0, 1.0, 6.0]]), np.array([[False, False, True]]))
    second = PixelCounts.of(np.array([[4.0, 2.0]]), np.array([[False, True]]))
    assert mean_error_ratio([first, second]) == pytest.approx(((6 + 2) / 2) / ((1 + 1 + 4) / 3), rel=1e-3)
    assert mean_error_ratio([]) is None
    assert mean_error_ratio([PixelCounts.of(np.ones((2, 2)), np.zeros((2, 2), dtype=bool))]) is None
