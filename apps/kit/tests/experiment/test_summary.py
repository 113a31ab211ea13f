import pytest

from mnemic_kit.experiment import Difference, Metric, Share, over_seeds, summarize

METRICS = {"loss": Metric("loss", "lower", digits=2), "size": Metric("size", None, digits=0)}


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    first, second = [0.5, 0.7, 0.4, 0.9], [0.4, 0.5, 0.5, 0.6]
    found = over_seeds([a - b for a, b in zip(first, second, strict=True)])
    half = 3.182446 * (0.0875 / 3) ** 0.5 / 2  # quantile of 3 degrees of freedom; squared deviations sum to 0.0875
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.125 - half, 0.125 + half))
    assert found.mean == pytest.approx(0.125)
    assert found.share_better == 0.75


def test_one_seed_has_a_difference_but_no_interval() -> None:
    assert over_seeds([0.5], "lower") == Difference(0.5, None, None, share_better=0.0)
    assert over_seeds([]) is None
    assert over_seeds([float("nan"), 1.0]) is None


def test_equal_differences_leave_no_doubt() -> None:
    assert over_seeds([0.0, 0.0]) == Difference(0.0, 0.0, 0.0, share_better=0.5)


def test_the_most_important_metric_comes_first_whatever_the_order_of_the_scores() -> None:
    found = {"none": {0: {"val": {"other": 2.0, "size": 8.0, "loss": 3.0}}}}
    metrics = {**METRICS, "other": Metric("other")}
    assert list(summarize(found, metrics, "none")["val"]["none"]) == ["loss", "other", "size"]


def test_differences_pair_the_seeds_that_both_have_and_facts_have_none() -> None:
    found = {
        "none": {0: {"val": {"loss": 1.0, "size": 8.0}}, 1: {"val": {"loss": 3.0, "size": 8.0}}},
        "window": {1: {"val": {"loss": 2.0, "size": 9.0}}, 2: {"val": {"loss": 7.0, "size": 9.0}}},
    }
    table = summarize(found, METRICS, "none")["val"]
    assert table["none"]["loss"].of_seeds == {0: 1.0, 1: 3.0}
    assert (table["none"]["loss"].mean, table["none"]["loss"].deviation) == (2.0, pytest.approx(2**0.5))
    assert table["none"]["loss"].difference is None
    assert table["window"]["loss"].difference == Difference(-1.0, None, None, share_better=1.0)
    assert table["window"]["size"].difference is None


def test_an_app_can_pair_over_something_else_than_seeds() -> None:
    found = {name: {seed: {"val": {"loss": 1.0, "size": 1.0}} for seed in (0, 1)} for name in ("none", "window")}
    other = Difference(-1.0, -2.0, 0.0, 1.0, "utterances")
    asked = []

    def paired(condition: str, metric: str, variant: str, baseline: str, seeds: list[int]) -> Difference | None:
        asked.append((condition, metric, variant, baseline, seeds))
        return other

    table = summarize(found, METRICS, "none", paired)["val"]
    assert asked == [("val", "loss", "window", "none", [0, 1])]
    assert table["window"]["loss"].difference == other


def test_values_are_shown_with_their_spread() -> None:
    assert Metric("HOTA (%)", scale=100.0).show_all([0.4, 0.6]) == "50.0 ± 14.1"
    assert Metric("HOTA (%)", scale=100.0).show_all([0.4]) == "40.0"
    assert Metric("size", None, digits=0).show_all([82624.0, 82624.0]) == "82,624"
    assert Share("solved").show_all([1.0, 1.0, 0.0]) == "2 of 3"
