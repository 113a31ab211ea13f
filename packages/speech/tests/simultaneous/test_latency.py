from pathlib import Path
from typing import Any

import pytest
from golden_files import GoldenCase, golden_cases

from mnemic_core.errors import UserError
from mnemic_speech.simultaneous.latency import (
    Emission,
    average_token_delay,
    score_latency,
    score_sentence,
)

GOLDEN = golden_cases("speech", Path(__file__).parents[1] / "golden" / "speech", prefix="f_")


def emission(case: dict[str, Any], *, of_hypothesis: bool = False) -> Emission:
    words = len(case["delays"]) if of_hypothesis else len(case["reference"].split())
    delays, elapsed = (tuple(map(float, case[name])) for name in ("delays", "elapsed"))
    return Emission(delays, float(case["source_length"]), words, elapsed, is_text=case["kind"] == "text")


@pytest.mark.golden
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda case: case.name)
def test_latency_equals_that_of_simuleval(golden: GoldenCase) -> None:
    tolerance = golden.info["tolerance"]["rtol"]
    for case in golden.info["cases"]:
        found, of_hypothesis = score_sentence(emission(case)), score_sentence(emission(case, of_hypothesis=True))
        for name in found:
            assert found[name] == pytest.approx(case["expected"][name], rel=tolerance), (case["name"], name)
        for name in ("AL", "LAAL", "AP", "DAL", "ATD"):
            expected = case["expected"][f"{name}_hyplen"]
            assert of_hypothesis[name] == pytest.approx(expected, rel=tolerance), (case["name"], name)
    speech = [emission(case) for case in golden.info["cases"] if case["kind"] == "speech"]
    corpus = score_latency(speech).scores
    for name, expected in golden.info["corpus_speech_mean"].items():
        assert corpus[name] == pytest.approx(expected, rel=tolerance), name


@pytest.mark.parametrize(
    ("delays", "target_length", "expected"),
    [
        ((1000, 2000, 3000, 4000, 5000), 5, {"AL": 1000, "LAAL": 1000, "AP": 0.6, "DAL": 1000, "ATD": 2180}),
        ((5000,) * 5, 5, {"AL": 5000, "LAAL": 5000, "AP": 1.0, "DAL": 5000, "ATD": 4100}),
        ((1000, 2000, 5000, 5000, 5000), 5, {"AL": 1666.6667, "DAL": 2200}),
        (tuple(range(250, 5001, 250)), 2, {"AL": -21125, "LAAL": 250, "AP": 5.25, "DAL": 250, "ATD": 0}),
    ],
)
def test_known_latencies(delays: tuple[float, ...], target_length: int, expected: dict[str, float]) -> None:
    found = score_sentence(Emission(tuple(map(float, delays)), 5000.0, target_length))
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_empty_translations_are_counted_and_left_out() -> None:
    some = score_latency([Emission((), 3000.0, 4), Emission((1000.0,), 1000.0, 1)])
    assert (some.num_scored, some.num_empty, some.scores["AL"]) == (1, 1, 1000.0)
    none = score_latency([Emission((), 3000.0, 4)])
    assert none.scores["AL"] is None
    assert none.num_empty == 1


def test_an_offline_system_writes_nothing_early() -> None:
    assert score_latency([Emission((5000.0,) * 3, 5000.0, 3)]).early_share == 0
    assert score_latency([Emission((1000.0, 5000.0), 5000.0, 3)]).early_share == 0.5


def test_elapsed_times_of_some_sentences_only_give_no_computation_aware_mean() -> None:
    found = score_latency([Emission((500.0,), 1000.0, 1, (600.0,)), Emission((500.0,), 1000.0, 1)])
    assert "AL_CA" not in found.scores
    assert found.scores["AL"] == 500


def test_a_word_before_any_source_waits_for_nothing() -> None:
    """The second word, one ahead of the source, is that of the first piece of 300 ms."""
    assert average_token_delay(Emission((0.0, 600.0), 600.0, 2)) == pytest.approx((0 + 300) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2.0, 1.0), 3.0, 1), "must not fall"),
        (((-1.0,), 3.0, 1), "0 or more"),
        (((float("nan"),), 3.0, 1), "finite"),
        (((1.0,), 0.0, 1), "needs a source"),
        (((1.0,), 3.0, 0), "reference of at least one word"),
        (((1.0, 2.0), 3.0, 1, (1.0,)), "each of 2 words needs an elapsed time"),
    ],
)
def test_impossible_times_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Emission(*arguments)
