"""Scores against the golden files, a plain loop in the place of the official evaluators, and values found by hand."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_files import GoldenCase, golden_cases
from numpy.testing import assert_allclose

from mnemic_core.errors import UserError
from mnemic_core.testing import unchecked_annotations
from mnemic_vision.matr import Action, DetectedAction, evaluate_actions, paired_interval, scores_tables
from mnemic_vision.matr.metrics.evaluation import THRESHOLDS

FOLDER = Path(__file__).parent.parent / "golden"
Truths = dict[str, list[Action]]
Predictions = dict[str, list[DetectedAction]]


def found(start: float, end: float, score: float = 0.9, label: str = "jump", delay: float = 0.5) -> DetectedAction:
    return DetectedAction(label, float(score), float(start), float(end), emitted=float(end + delay))


def act(start: float, end: float, label: str = "jump") -> Action:
    return Action(label, float(start), float(end))


def ap_of(truths: Sequence[Action], predictions: Sequence[DetectedAction], label: str = "jump") -> tuple[float, ...]:
    return evaluate_actions({"clip": truths}, {"clip": predictions}).ap[label]


def random_case(seed: int, videos: int = 6, classes: int = 3) -> tuple[Truths, Predictions]:
    """Return distinct scores, predictions near and far from the actions, and some videos without either."""
    rng = np.random.default_rng(seed)
    truths: Truths = {f"v{index}": [] for index in range(videos)}
    predictions: Predictions = {f"v{index}": [] for index in range(1, videos + 1)}
    for _ in range(5 * videos):
        label, start, name = f"c{rng.integers(classes)}", rng.uniform(0, 40), f"v{rng.integers(videos)}"
        truths[name].append(act(start, start + rng.uniform(1, 9), label))
        for _ in range(rng.integers(4)):
            begin, end = truths[name][-1].start + rng.normal(), truths[name][-1].end + rng.normal()
            where = name if rng.random() < 0.8 else f"v{rng.integers(1, videos + 1)}"
            predictions.setdefault(where, []).append(found(begin, end, rng.random(), label, rng.uniform(0, 4)))
    return truths, predictions


def iou(first: Action | DetectedAction, second: Action | DetectedAction) -> float:
    overlap = max(0.0, min(first.end, second.end) - max(first.start, second.start))
    return overlap / ((first.end - first.start) + (second.end - second.start) - overlap)


def naive(truths: Truths, predictions: Predictions, label: str, threshold: float) -> tuple[float, list[float]]:
    """Return AP and delays of one class, one prediction after the other."""
    free = {name: [each for each in actions if each.label == label] for name, actions in truths.items()}
    total = sum(map(len, free.values()))
    ranked = [(name, each) for name, actions in predictions.items() for each in actions if each.label == label]
    curve, delays = [(0.0, 0.0)], []
    for rank, (name, each) in enumerate(sorted(ranked, key=lambda item: -item[1].score), start=1):
        best = max(free.get(name, []), key=lambda truth: iou(each, truth), default=None)
        if best is not None and iou(each, best) >= threshold:
            free[name].remove(best)
            delays.append(each.emitted - best.end)
        curve.append((len(delays) / total, len(delays) / rank))
    steps = itertools.pairwise(curve)
    area = sum((new[0] - old[0]) * max(y for x, y in curve if x >= new[0]) for old, new in steps if new[0] > old[0])
    return area, delays


@pytest.mark.golden
@pytest.mark.parametrize("case", golden_cases("matr", FOLDER / "matr", "evaluator"), ids=lambda case: case.name)
def test_the_official_evaluator_gives_the_same_numbers(case: GoldenCase) -> None:
    database = case.info["ground_truth"]["database"]
    truths = {
        name: [act(*each["segment"], each["label"]) for each in video["annotations"]]
        for name, video in database.items()
        if video["subset"] == case.info["subset"]
    }
    predictions = {
        name: [DetectedAction(each["label"], each["score"], *each["segment"], each["gentime"]) for each in actions]
        for name, actions in case.info["predictions"]["results"].items()
    }
    thresholds = case.inputs["tiou"].tolist()
    scores = evaluate_actions(truths, predictions, thresholds=thresholds, protocol="activitynet")
    ap = np.transpose([scores.ap[label] for label in case.info["class_order"]])
    for name, actual in {"ap": ap, "mAP": scores.mean_ap, "aedt": scores.mean_delay}.items():
        assert_allclose(actual, case.outputs[name].numpy(), rtol=0, atol=1e-9, err_msg=name)
    assert scores.average_map == pytest.approx(case.info["average_mAP"], abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_a_loop_over_predictions(seed: int) -> None:
    truths, predictions = random_case(seed)
    scores = evaluate_actions(truths, predictions)
    for index, threshold in enumerate(THRESHOLDS):
        expected = {label: naive(truths, predictions, label, threshold) for label in scores.ap}
        assert [scores.ap[label][index] for label in expected] == pytest.approx([ap for ap, _ in expected.values()])
        delays = [delay for _, each in expected.values() for delay in each]
        assert scores.mean_delay[index] == pytest.approx(np.mean(delays))
        assert scores.recall_within[2.0][index] == pytest.approx(np.sum(np.array(delays) <= 2) / scores.counts.truths)


def test_a_prediction_of_exactly_the_threshold_is_right() -> None:
    assert ap_of([act(0, 10)], [found(0, 7)]) == (1.0,) * 5


def test_tied_scores_count_together_in_any_order() -> None:
    tied = [found(0, 10), found(20, 30), found(0, 9), found(4, 30), found(1, 9), found(0, 10, 0.8)]
    truths = [act(0, 10), act(18, 30)]
    values = {ap_of(truths, order) for order in itertools.permutations(tied)}
    assert len(values) == 1
    assert ap_of(truths[:1], tied[:2]) == (0.5,) * 5


@pytest.mark.parametrize("seed", range(3))
def test_no_number_depends_on_the_order_of_predictions(seed: int) -> None:
    truths, predictions = random_case(seed)
    rng = np.random.default_rng(seed)
    tied = {name: [replace(each, score=round(each.score, 1)) for each in some] for name, some in predictions.items()}
    names = rng.permutation(sorted(tied))
    shuffled = {str(name): [tied[name][index] for index in rng.permutation(len(tied[name]))] for name in names}
    first, second = evaluate_actions(truths, tied), evaluate_actions(truths, shuffled)
    assert second.ap == first.ap
    assert second.as_dict() == pytest.approx(first.as_dict(), abs=1e-12)


def test_of_two_actions_overlapped_alike_the_later_is_found() -> None:
    truths = [act(0, 10), act(10, 20)]
    scores = evaluate_actions({"clip": truths}, {"clip": [found(5, 15)]}, thresholds=(0.3,))
    assert scores.mean_delay == pytest.approx((15.5 - 20,))


def test_duplicate_and_empty_annotations_are_dropped_and_counted() -> None:
    truths = [act(0, 10), act(0.0009, 10), act(5, 5), act(7, 6)]
    scores = evaluate_actions({"clip": truths}, {"clip": [found(0, 10)]})
    assert scores.average_map == 1
    assert (scores.counts.truths, scores.counts.duplicate_truths, scores.counts.empty_truths) == (1, 1, 2)


def test_activitynet_keeps_duplicate_and_empty_annotations() -> None:
    truths = {"clip": [act(0, 10), act(0, 10), act(5, 5), act(7, 6)]}
    scores = evaluate_actions(truths, {"clip": [found(0, 10)]}, protocol="activitynet")
    assert scores.average_map == 0.25
    assert (scores.counts.truths, scores.counts.duplicate_truths, scores.counts.empty_truths) == (4, 0, 0)


def test_both_protocols_agree_on_sound_annotations() -> None:
    truths, predictions = random_case(3)
    assert evaluate_actions(truths, predictions) == evaluate_actions(truths, predictions, protocol="activitynet")


def test_the_same_times_in_another_class_are_no_duplicate() -> None:
    scores = evaluate_actions({"clip": [act(0, 10), act(0, 10, "run")]}, {"clip": [found(0, 10)]})
    assert scores.counts.duplicate_truths == 0
    assert (scores.average_map, scores.ap["run"]) == (0.5, (0.0,) * 5)


def test_an_unknown_class_is_ignored_and_counted() -> None:
    scores = evaluate_actions({"clip": [act(0, 10)]}, {"clip": [found(0, 10), found(0, 5, label="fly")]})
    assert list(scores.ap) == ["jump"]
    assert (scores.average_map, scores.counts.predictions, scores.counts.unknown_class) == (1, 1, 1)


def test_an_empty_prediction_is_a_false_positive() -> None:
    scores = evaluate_actions({"clip": [act(0, 10)]}, {"clip": [found(5, 5, 1.0), found(0, 10)]})
    assert (scores.average_map, scores.counts.empty_predictions) == (0.5, 1)


def test_names_of_videos_are_never_cut() -> None:
    scores = evaluate_actions({"abc": [act(0, 10)]}, {"v_abc": [found(0, 10)]})
    assert (scores.average_map, scores.counts.unknown_video) == (0, 1)
    assert scores.mean_delay_s is None


def test_without_predictions_all_is_missed() -> None:
    scores = evaluate_actions({"clip": [act(0, 10)]}, {})
    assert scores.as_dict()["map_0.3"] == scores.as_dict()["precision_within_1s"] == 0
    assert math.isnan(scores.mean_delay[0])


def test_late_predictions_do_not_count_within_a_delay() -> None:
    truths = {"clip": [act(0, 10), act(20, 30), act(40, 50)]}
    predictions = {"clip": [found(0, 10, delay=1), found(20, 30, delay=3), found(60, 70, delay=0), found(80, 90)]}
    numbers = evaluate_actions(truths, predictions).as_dict()
    assert [numbers[f"recall_within_{limit}s"] for limit in (1, 2, 5)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert [numbers[f"precision_within_{limit}s"] for limit in (1, 2, 5)] == pytest.approx([1 / 4, 1 / 4, 2 / 4])
    assert numbers["mean_delay_s"] == 2


def test_durations_are_scored_apart() -> None:
    truths = {"clip": [act(100 * index, 100 * index + 2**index) for index in range(8)]}
    hits = [found(each.start, each.end) for each in truths["clip"][:2]]  # both extra small
    wrong = [found(900, 902, 0.95), found(950, 951, 0.97)]  # two false positives of their duration
    scores = evaluate_actions(truths, {"clip": [*hits, *wrong, found(990, 1090, 1.0)]})
    assert [(each.truths, each.shortest, each.longest) for each in scores.durations] == [
        (2, 1, 2),
        (2, 4, 8),
        (2, 16, 32),
        (2, 64, 128),
    ]
    assert [each.mean_ap[0] for each in scores.durations] == [0.5, 0, 0, 0]


def test_actions_of_one_duration_form_one_range() -> None:
    truths = {"clip": [act(10 * index, 10 * index + 4) for index in range(8)]}
    (only,) = evaluate_actions(truths, {}).durations
    assert (only.name, only.truths) == ("extra small", 8)


def test_tables_show_every_class_delay_and_range() -> None:
    truths = {"clip": [act(0, 10), act(20, 24, "run")]}
    tables = scores_tables(evaluate_actions(truths, {"clip": [found(0, 7, delay=0.75), found(0, 1, label="fly")]}))
    assert "| jump  |       1 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in tables
    assert "| all   |       2 |  50.0 |  50.0 |  50.0 |  50.0 |  50.0 |  50.0 |" in tables
    assert "mean delay, s" in tables
    assert "extra small" in tables
    assert tables.endswith("Counts: truths 2, predictions 1, unknown class 1.")


@pytest.mark.parametrize("field", ["score", "start", "end", "emitted"])
def test_a_number_that_is_nan_is_refused(field: str) -> None:
    with pytest.raises(UserError, match=r"^DetectedAction\(.*\) of video 'clip' has a number that is NaN"):
        ap_of([act(0, 10)], [replace(found(0, 10), **{field: math.nan})])  # type: ignore[arg-type]


def test_an_annotation_with_nan_is_refused() -> None:
    with pytest.raises(UserError, match=r"^Action\(.*\) of video 'clip' has a number that is NaN"):
        ap_of([act(math.nan, 10)], [])


@pytest.mark.parametrize("truths", [{}, {"clip": []}, {"clip": [act(5, 5)]}])
def test_ground_truth_without_actions_is_refused(truths: Truths) -> None:
    with pytest.raises(UserError, match="expected annotated actions"):
        evaluate_actions(truths, {"clip": [found(0, 10)]})


@pytest.mark.parametrize("thresholds", [(), (0.0,), (0.5, 50), (math.nan,)])
def test_thresholds_out_of_range_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="thresholds must be above 0"):
        evaluate_actions({"clip": [act(0, 10)]}, {}, thresholds=thresholds)


def test_an_unknown_protocol_is_refused() -> None:
    with unchecked_annotations(), pytest.raises(UserError, match="protocol must be one of opentad, activitynet"):
        evaluate_actions({"clip": [act(0, 10)]}, {}, protocol="voc")  # type: ignore[arg-type]


def test_fifty_thousand_predictions_take_seconds() -> None:
    rng = np.random.default_rng(0)
    names = [f"v{index}" for index in range(212)]
    starts = rng.uniform(0, 200, (212, 16))
    truths = {
        name: [act(start, start + 4, f"c{rng.integers(20)}") for start in row]
        for name, row in zip(names, starts, strict=True)
    }
    predictions = {
        name: [found(start, start + rng.uniform(2, 6), rng.random(), f"c{rng.integers(20)}") for start in row]
        for name, row in zip(names, rng.uniform(0, 200, (212, 236)), strict=True)
    }
    begin = time.process_time()
    scores = evaluate_actions(truths, predictions)
    assert time.process_time() - begin < 20  # about 1 s; this allows for a loaded machine and for jaxtyping's checks
    assert scores.counts.predictions == 212 * 236


def test_systems_of_the_same_answers_differ_by_nothing() -> None:
    truths, predictions = random_case(0)
    interval = paired_interval(truths, [predictions], [predictions], samples=20)
    assert (interval.difference, interval.low, interval.high, interval.share_first_better) == (0, 0, 0, 0.5)


def test_the_difference_is_that_of_the_scores() -> None:
    truths, first = random_case(1)
    second = {name: actions[::2] for name, actions in first.items()}
    interval = paired_interval(truths, [first], [second], samples=50)
    scores = [evaluate_actions(truths, each).average_map for each in (first, second)]
    assert interval.difference == pytest.approx(scores[0] - scores[1])
    assert interval.low <= interval.difference <= interval.high
    assert interval == paired_interval(truths, [first], [second], samples=50)


def test_a_sample_is_scored_as_if_its_videos_were_copied() -> None:
    truths, first = random_case(2, videos=4)
    second = {name: [replace(each, score=round(each.score, 1)) for each in some[1:]] for name, some in first.items()}
    names = sorted({*truths, *first})
    (drawn,) = np.random.default_rng(7).multinomial(len(names), np.full(len(names), 1 / len(names)), size=1)
    copies = {f"{name} {index}": name for name, times in zip(names, drawn, strict=True) for index in range(times)}
    scores = [
        evaluate_actions(
            {copy: truths.get(name, []) for copy, name in copies.items()},
            {copy: each.get(name, []) for copy, name in copies.items()},
            protocol="activitynet",
        )
        for each in (first, second)
    ]
    interval = paired_interval(truths, [first], [second], samples=1, seed=7)
    assert interval.low == pytest.approx(scores[0].average_map - scores[1].average_map)


def test_one_video_has_no_interval() -> None:
    with pytest.raises(UserError, match="at least two videos"):
        paired_interval({"clip": [act(0, 10)]}, [{}], [{}])


def test_runs_of_a_system_count_by_their_mean() -> None:
    truths, first = random_case(1)
    runs: list[Predictions] = [first, {name: actions[::2] for name, actions in first.items()}, {}]
    alone = [paired_interval(truths, [run], [{}], samples=2).difference for run in runs]
    assert paired_interval(truths, runs, [{}], samples=2).difference == pytest.approx(np.mean(alone))


def test_a_system_without_runs_is_refused() -> None:
    with pytest.raises(UserError, match="at least one run, got 0 and 1"):
        paired_interval({"clip": [act(0, 10)]}, [], [{}])
