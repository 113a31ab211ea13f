from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.calibration import Calibration
from mnemic_vision.memmc_mae.metrics import PixelCounts, ScoredImages
from mnemic_vision.memmc_mae.threshold_fit import QuantileRule, fit_calibration


def normals(scores: np.ndarray) -> ScoredImages:
    return ScoredImages(scores, np.zeros(len(scores), dtype=np.int64))


def share_above(scores: np.ndarray, threshold: float) -> float:
    return float((scores >= threshold).mean())


def test_threshold_of_labeled_images_is_the_highest_with_the_best_f1() -> None:
    images = ScoredImages(np.array([0.1, 0.5, 0.5, 0.5, 0.8, 0.9]), np.array([0, 0, 0, 1, 1, 1]))
    scale = fit_calibration(images).image
    assert (scale.low, scale.threshold, scale.high, scale.rule) == (0.1, 0.8, 0.9, "f1")


@pytest.mark.parametrize(("count", "above"), [(20, 0), (99, 0), (199, 1), (999, 9)])
def test_threshold_of_normal_images_leaves_the_share_above(count: int, above: int) -> None:
    scores = np.random.default_rng(0).permutation(count).astype(np.float32)
    scale = fit_calibration(normals(scores)).image
    assert (scores >= scale.threshold).sum() == above
    assert scale.rule == "quantile"


@pytest.mark.parametrize(("count", "expected"), [(20, 1 / 21), (99, 0.01), (499, 0.01)])
def test_share_of_new_normal_images_above_is_as_stated(count: int, expected: float) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2000):
        threshold = fit_calibration(normals(rng.random(count))).image.threshold
        shares.append(1 - threshold)  # of uniform scores
    assert np.mean(shares) == pytest.approx(expected, rel=0.1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_ties_never_leave_more_above_than_allowed(values: list[int]) -> None:
    scores = np.array(values) / 3
    scale = fit_calibration(normals(scores), QuantileRule(image=0.9)).image
    assert share_above(scores, scale.threshold) <= 0.1
    assert scale.low < scale.threshold < scale.high


@pytest.mark.parametrize("scores", [[0.25], [0.25, 0.25, 0.25], [0.0]])
def test_one_normal_image_or_equal_scores_are_below_the_threshold(scores: list[float]) -> None:
    scale = fit_calibration(normals(np.array(scores))).image
    assert scale.scale(torch.tensor(scores)).max() < 0.5
    assert scale.scale(torch.tensor([max(scores) + 0.01])).item() > 0.5


def test_equal_scores_with_both_labels_are_at_the_threshold() -> None:
    scale = fit_calibration(ScoredImages(np.full(4, 0.3), np.array([0, 0, 1, 1]))).image
    assert scale.scale(torch.tensor([0.2, 0.3, 0.4])).tolist() == [0.0, 0.5, 1.0]


def test_float64_scores_stay_below_as_float32() -> None:
    scores = np.random.default_rng(0).random(50)
    scale = fit_calibration(normals(scores)).image
    assert not scale.is_anomalous(torch.tensor(scores, dtype=torch.float32)).any()
    assert not scale.is_anomalous(torch.tensor(scores)).any()


def test_pixels_of_normal_images_give_a_quantile() -> None:
    rng = np.random.default_rng(0)
    maps, empty = rng.random((5, 100, 100)), np.zeros((100, 100), dtype=bool)
    images = ScoredImages(np.arange(5.0), np.zeros(5, dtype=np.int64), [PixelCounts.of(each, empty) for each in maps])
    scale = fit_calibration(images).pixel
    assert scale is not None
    assert scale.rule == "quantile"
    assert share_above(maps, scale.threshold) <= 0.001
    assert scale.threshold == pytest.approx(np.quantile(maps, 0.999), rel=1e-3)


def test_constant_maps_are_below_the_pixel_threshold() -> None:
    counts = PixelCounts.of(np.full((4, 4), 0.25), np.zeros((4, 4), dtype=bool))
    scale = fit_calibration(ScoredImages(np.ones(1), np.zeros(1, dtype=np.int64), [counts])).pixel
    assert scale is not None
    assert scale.scale(torch.tensor([0.25, 0.3])).tolist() == [0.0, 1.0]


def test_masks_give_the_pixel_threshold_with_the_best_f1() -> None:
    mask = np.eye(8, dtype=bool)
    scores = 0.25 + 0.5 * mask
    counts = [PixelCounts.of(scores, mask), PixelCounts.of(np.full((8, 8), 0.5), np.zeros((8, 8), dtype=bool))]
    scale = fit_calibration(ScoredImages(np.array([2.0, 1.0]), np.array([1, 0]), counts)).pixel
    assert scale is not None
    assert (scale.low, scale.threshold, scale.rule) == (0.25, 0.75, "f1")


def test_anomalous_images_without_masks_leave_the_pixel_quantile_of_normal_ones() -> None:
    counts = PixelCounts.of(np.full((4, 4), 0.25), np.zeros((4, 4), dtype=bool))
    calibration = fit_calibration(ScoredImages(np.array([1.0, 2.0]), np.array([0, 1]), [counts, None]))
    assert calibration.pixel is not None
    assert (calibration.image.rule, calibration.pixel.rule) == ("f1", "quantile")


def test_calibration_comes_back_from_plain_values() -> None:
    calibration = fit_calibration(normals(np.arange(9.0)))
    assert deserialize(Calibration, asdict(calibration), "a.safetensors", "calibration") == calibration


def test_calibration_without_normal_images_is_refused() -> None:
    with pytest.raises(UserError, match="needs normal images, got 2 anomalous ones only"):
        fit_calibration(ScoredImages(np.arange(2.0), np.ones(2, dtype=np.int64)))


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(UserError, match="image must be between 0 and 1"):
        QuantileRule(image=1.5)
