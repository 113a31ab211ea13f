import pytest

from mnemic_transcribe.scoring import Heard, error_rates, gather

HEARD = [Heard("b", "one two three four", "one too three"), Heard("a", "five", "five six")]


def test_error_rates_are_those_of_all_words_together() -> None:
    rates = error_rates(HEARD)
    assert rates["wer"] == pytest.approx(3 / 5)
    parts = {name: rates[name] for name in ("substitutions", "deletions", "insertions")}
    assert parts == pytest.approx(dict.fromkeys(parts, 1 / 5))
    assert sum(parts.values()) == pytest.approx(rates["wer"])


def test_an_utterance_that_two_processes_heard_counts_once() -> None:
    assert gather([*HEARD, HEARD[0]], num_processes=1) == [HEARD[1], HEARD[0]]
