"""Figures against scikit-learn, plain loops, and values found by hand."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.ndimage import label as label_regions
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score, roc_curve

from mnemic_core.errors import UserError
from mnemic_core.testing import unchecked_annotations
from mnemic_vision.memmc_mae.metrics import PixelCounts, ScoredImages, anomaly_differences, evaluate_anomalies
from mnemic_vision.memmc_mae.metrics.image_metrics import image_values
from mnemic_vision.memmc_mae.metrics.pixel_metrics import pixel_point, pixel_values
from mnemic_vision.memmc_mae.metrics.pixel_table import pooled_table
from mnemic_vision.memmc_mae.metrics.scored_images import resample
from mnemic_vision.memmc_mae.metrics.scores import ImageScores, PixelScores

FEW = 20  # resampled sets where intervals do not matter


def images_of(scores: list[float], labels: list[int]) -> ScoredImages:
    return ScoredImages(np.array(scores, dtype=np.float64), np.array(labels))


def scores_of(scores: list[float], labels: list[int]) -> ImageScores:
    return evaluate_anomalies(images_of(scores, labels), samples=FEW).image


def pixels_of(maps: list[np.ndarray], masks: list[np.ndarray], threshold: float | None = None) -> ScoredImages:
    counts = [PixelCounts.of(*each, threshold) for each in zip(maps, masks, strict=True)]
    labels = np.array([int(mask.any()) for mask in masks])
    return ScoredImages(np.arange(len(maps), dtype=float), labels, counts)


def pixel_scores_of(maps: list[np.ndarray], masks: list[np.ndarray], threshold: float | None = None) -> PixelScores:
    scores = evaluate_anomalies(pixels_of(maps, masks, threshold), samples=FEW).pixel
    assert scores is not None
    return scores


def blobs(seed: int, count: int = 6, side: int = 12, levels: int = 32) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return noisy maps with few distinct scores, two thirds of them with anomalies, and their masks."""
    rng = np.random.default_rng(seed)
    masks = [rng.random((side, side)) < (0.12 if index % 3 else 0) for index in range(count)]
    return [np.floor(levels * (0.6 * rng.random((side, side)) + 0.4 * mask)) / levels for mask in masks], masks


def naive_aupro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float = 0.3) -> float:
    """Return the area under the mean overlap of regions, one threshold after the other."""
    normal = np.concatenate([each[~mask] for each, mask in zip(maps, masks, strict=True)])
    regions = []
    for each, mask in zip(maps, masks, strict=True):
        labeled, count = label_regions(mask, np.ones((3, 3)))
        regions += [each[labeled == index] for index in range(1, count + 1)]
    thresholds = [np.inf, *np.unique(np.concatenate([each.ravel() for each in maps]))[::-1]]
    points = [
        ((normal >= each).mean(), np.mean([(region >= each).mean() for region in regions])) for each in thresholds
    ]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit


def value(scores: ImageScores | PixelScores, name: str) -> float:
    return getattr(scores, name).value


def test_scores_beyond_one_are_no_logits() -> None:
    assert value(scores_of([20, 30, 40, 50], [0, 0, 1, 1]), "auroc") == 1
    assert value(scores_of([0.3, 0.5, 1.2, 0.55, 0.6], [0, 0, 1, 1, 1]), "auroc") == 1


def test_constant_scores_are_chance() -> None:
    scores = scores_of([0.5] * 5, [0, 0, 1, 1, 1])
    assert value(scores, "auroc") == 0.5
    assert value(scores, "average_precision") == 0.6
    assert value(scores, "fpr_at_95_tpr") == 1
    assert scores.f1_threshold == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_figures(label: int) -> None:
    scores = scores_of([0.1, 0.2], [label, label]).as_dict()
    assert scores.pop("normal_images") == 2 * (1 - label)
    assert scores.pop("anomalous_images") == 2 * label
    assert set(scores.values()) == {None}


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(UserError, match="scores must be finite"):
        images_of([0.1, wrong], [0, 1])
    with pytest.raises(UserError, match="maps must be finite"):
        PixelCounts.of(np.array([[0.1, wrong]]), np.zeros((1, 2), dtype=bool))


def test_threshold_includes_scores_equal_to_it() -> None:
    scores = scores_of([0.1, 0.5, 0.5, 0.5, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
    assert scores.f1_threshold == 0.8
    assert value(scores, "f1_max") == pytest.approx(0.8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30))
def test_image_figures_are_those_of_scikit_learn_with_ties(pairs: list[tuple[int, bool]]) -> None:
    score, label = (np.array(each) for each in zip(*pairs, strict=True))
    images = ScoredImages(score / 4, np.concatenate([label, [False, True]]).astype(np.int64)[: len(label)])
    if len(set(images.labels.tolist())) < 2:
        return
    found = {name: each[0] for name, each in image_values(images, np.ones((1, len(score)))).items()}
    rate, recall, _ = roc_curve(images.labels, images.scores, drop_intermediate=False)
    assert found["auroc"] == pytest.approx(roc_auc_score(images.labels, images.scores))
    assert found["average_precision"] == pytest.approx(average_precision_score(images.labels, images.scores))
    assert found["fpr_at_95_tpr"] == pytest.approx(rate[recall >= 0.95].min())
    best = max(f1_score(images.labels, images.scores >= threshold) for threshold in set(images.scores.tolist()))
    assert found["f1_max"] == pytest.approx(best)


def test_resampled_figures_are_those_of_the_drawn_images() -> None:
    rng = np.random.default_rng(0)
    images = ScoredImages(rng.integers(0, 9, 30) / 8, np.repeat([0, 1], 15))
    times = resample(images.labels, 5, seed=1)
    values = image_values(images, times)
    for sample, drawn in enumerate(times.astype(int)):
        score, label = np.repeat(images.scores, drawn), np.repeat(images.labels, drawn)
        assert label.sum() == 15
        assert values["auroc"][sample] == pytest.approx(roc_auc_score(label, score))
        assert values["average_precision"][sample] == pytest.approx(average_precision_score(label, score))


def test_interval_holds_the_value_and_narrows_with_more_images() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 320):
        labels = np.repeat([0, 1], count)
        found = evaluate_anomalies(ScoredImages(rng.normal(labels, 1.0), labels)).image.auroc
        assert found is not None
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)  # one over the root of the number


def test_constant_map_has_half_of_the_limit() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    assert value(pixel_scores_of([np.full((8, 8), 0.5)], [mask]), "aupro") == pytest.approx(0.15)


def test_perfect_map_has_one() -> None:
    mask = np.eye(8, dtype=bool)
    scores = pixel_scores_of([mask.astype(float)], [mask], threshold=0.5)
    for name in ("aupro", "auroc", "f1_max", "best_iou", "iou"):
        assert value(scores, name) == 1


def test_no_anomalous_pixel_has_no_figures() -> None:
    empty = np.zeros((4, 4), dtype=bool)
    assert evaluate_anomalies(pixels_of([np.eye(4)] * 2, [empty] * 2)).pixel is None
    assert evaluate_anomalies(images_of([1.0, 2.0], [0, 1])).pixel is None


def test_pixels_that_touch_at_corners_are_one_region() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = True
    assert pixel_scores_of([np.eye(6)], [mask]).regions == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [2, 5, 64])
def test_pixel_figures_are_those_of_scikit_learn_and_a_loop(seed: int, levels: int) -> None:
    maps, masks = blobs(seed, levels=levels)
    scores = pixel_scores_of(maps, masks, threshold=0.5)
    score, truth = (np.concatenate([each.ravel() for each in group]) for group in (maps, masks))
    assert value(scores, "auroc") == pytest.approx(roc_auc_score(truth, score))
    assert value(scores, "aupro") == pytest.approx(naive_aupro(maps, masks))
    assert value(scores, "f1_max") == pytest.approx(max(f1_score(truth, score >= each) for each in np.unique(score)))
    assert value(scores, "f1_max") == pytest.approx(f1_score(truth, score >= scores.f1_threshold))
    assert value(scores, "best_iou") == pytest.approx(max(jaccard_score(truth, score >= e) for e in np.unique(score)))
    assert value(scores, "iou") == pytest.approx(jaccard_score(truth, score >= 0.5))


def test_figures_of_scores_of_any_precision_and_sign_are_near() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((20, 20)) < 0.1 for _ in range(3)]
    maps = [rng.normal(mask, 1.0) for mask in masks]
    score, truth = (np.concatenate([each.ravel() for each in group]) for group in (maps, masks))
    scores = pixel_scores_of(maps, masks)
    assert value(scores, "auroc") == pytest.approx(roc_auc_score(truth, score), abs=3e-4)
    assert value(scores, "aupro") == pytest.approx(naive_aupro(maps, masks), abs=3e-4)
    assert value(scores, "f1_max") == pytest.approx(f1_score(truth, score.astype(np.float32) >= scores.f1_threshold))


def test_resampled_pixel_figures_are_those_of_the_drawn_images() -> None:
    maps, masks = blobs(0)
    images = pixels_of(maps, masks, threshold=0.5)
    times = resample(images.labels, 4, seed=1)
    values = pixel_values(images, times)
    for sample, drawn in enumerate(times.astype(int)):
        chosen = np.repeat(np.arange(len(maps)), drawn)
        alone = pixel_point(pooled_table([images.known_pixels[index] for index in chosen]))
        for name, expected in alone.items():
            assert values[name][sample] == pytest.approx(expected)
        picked = [maps[index] for index in chosen], [masks[index] for index in chosen]
        assert values["aupro"][sample] == pytest.approx(naive_aupro(*picked))


def test_merged_levels_change_resampled_figures_little() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((80, 80)) < 0.1 for _ in range(4)]
    images = pixels_of([rng.normal(mask, 1.0) for mask in masks], masks)
    times = resample(images.labels, 3, seed=0)
    values = pixel_values(images, times)
    for sample, drawn in enumerate(times.astype(int)):
        alone = pixel_point(pooled_table([images.known_pixels[index] for index in np.repeat(np.arange(4), drawn)]))
        for name in ("pixel_auroc", "aupro", "pixel_f1_max"):
            assert values[name][sample] == pytest.approx(alone[name], abs=1e-3)


def test_images_without_ground_truth_are_left_out_of_pixel_figures() -> None:
    maps, masks = blobs(0)
    images = pixels_of(maps, masks)
    more = ScoredImages(np.append(images.scores, 9.0), np.append(images.labels, 1), [*images.pixels, None])
    assert evaluate_anomalies(more, samples=FEW).pixel == evaluate_anomalies(images, samples=FEW).pixel


def test_numbers_are_json() -> None:
    numbers = evaluate_anomalies(pixels_of(*blobs(0)), samples=FEW).as_dict()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert {"auroc", "auroc_low", "average_precision", "aupro", "iou", "pixel_auroc", "regions"} <= numbers.keys()
    assert numbers["iou"] is None  # no threshold was given


def test_a_detector_equals_itself_and_beats_a_worse_one() -> None:
    rng = np.random.default_rng(0)
    maps, masks = blobs(0, count=9)
    good = pixels_of(maps, masks)
    bad = replace(pixels_of([rng.random(each.shape) for each in maps], masks), scores=-good.scores)
    for each in anomaly_differences([good], [good], samples=FEW).values():
        assert (each.difference, each.low, each.high, each.share_first_better) == (0, 0, 0, 0.5)
    better = anomaly_differences([good], [bad], samples=FEW)
    assert better["pixel_auroc"].low > 0
    assert better["aupro"].share_first_better == 1


def test_difference_is_that_of_both_evaluations() -> None:
    (maps, masks), (others, _) = blobs(0), blobs(5)
    first, second = pixels_of(maps, masks, 0.5), pixels_of(others, masks, 0.6)
    own, other = (evaluate_anomalies(each, samples=FEW).as_dict() for each in (first, second))
    found = anomaly_differences([first], [second], samples=FEW)
    assert found.keys() >= {"auroc", "average_precision", "f1_max", "fpr_at_95_tpr", "iou", "aupro", "best_iou"}
    assert_allclose([each.difference for each in found.values()], [own[name] - other[name] for name in found])


def test_runs_of_a_detector_count_by_their_mean() -> None:
    labels = np.repeat([0, 1], 10)
    runs = [ScoredImages(np.random.default_rng(seed).normal(labels), labels) for seed in range(3)]
    alone = [anomaly_differences([run], [runs[2]], samples=FEW)["auroc"].difference for run in runs[:2]]
    together = anomaly_differences(runs[:2], [runs[2]], samples=FEW)["auroc"].difference
    assert together == pytest.approx(np.mean(alone))


def test_runs_on_other_images_are_refused() -> None:
    with pytest.raises(UserError, match="same images"):
        anomaly_differences([images_of([1, 2], [0, 1])], [images_of([1, 2], [1, 0])])
    with pytest.raises(UserError, match="at least one run, got 1 and 0"):
        anomaly_differences([images_of([1, 2], [0, 1])], [])


def test_wrong_labels_and_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="labels must be 0"):
        images_of([1.0, 2.0], [0, 2])
    with pytest.raises(UserError, match="got 2 and 1"), unchecked_annotations():
        images_of([1.0, 2.0], [0])
