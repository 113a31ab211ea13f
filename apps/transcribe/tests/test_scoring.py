import pytest

from mnemic_transcribe.scoring import Prediction, error_rates

PREDICTIONS = [Prediction("b", "one two three four", "one too three"), Prediction("a", "five", "five six")]


def test_error_rates_are_those_of_all_words_together() -> None:
    rates = error_rates(PREDICTIONS)
    assert rates["wer"] == pytest.approx(3 / 5)
    parts = {name: rates[name] for name in ("substitutions", "deletions", "insertions")}
    assert parts == pytest.approx(dict.fromkeys(parts, 1 / 5))
    assert sum(parts.values()) == pytest.approx(rates["wer"])
