import random
from functools import cache
from math import isclose

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic_speech.metrics import (
    ErrorCounts,
    bootstrap_interval,
    character_errors,
    group_by_range,
    paired_bootstrap,
    summarize,
    word_errors,
)

WORDS = st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join)


def fewest(reference: list[str], hypothesis: list[str]) -> tuple[int, int]:
    """Errors and substitutions of the best alignment, by trying all."""

    @cache
    def best(rows: int, columns: int) -> tuple[int, int]:
        if rows == 0 or columns == 0:
            return rows + columns, 0
        errors, changed = best(rows - 1, columns - 1)
        wrong = reference[rows - 1] != hypothesis[columns - 1]
        options = [(errors + wrong, changed + wrong)]
        options += [(errors + 1, changed) for errors, changed in (best(rows - 1, columns), best(rows, columns - 1))]
        return min(options)

    return best(len(reference), len(hypothesis))


def random_items(seed: int, count: int = 60) -> list[ErrorCounts]:
    draw = random.Random(seed)
    return [ErrorCounts(draw.randint(0, 2), draw.randint(0, 1), draw.randint(0, 1), 10) for _ in range(count)]


@given(WORDS, WORDS)
def test_counts_are_those_of_the_best_of_all_alignments(reference: str, hypothesis: str) -> None:
    counts = word_errors(reference, hypothesis)
    assert (counts.errors, counts.substitutions) == fewest(reference.split(), hypothesis.split())
    assert counts.insertions - counts.deletions == len(hypothesis.split()) - len(reference.split())


@given(WORDS.filter(bool), WORDS)
def test_rates_equal_those_of_jiwer(reference: str, hypothesis: str) -> None:
    assert isclose(word_errors(reference, hypothesis).rate, jiwer.wer(reference, hypothesis))
    assert isclose(character_errors(reference, hypothesis).rate, jiwer.cer(reference, hypothesis))


def test_rates_of_a_set_equal_those_of_jiwer() -> None:
    references = ["one two three", "four", "five six seven eight"]
    hypotheses = ["one too three", "four five", ""]
    summary = summarize(map(word_errors, references, hypotheses))
    assert isclose(summary.rate, jiwer.wer(references, hypotheses))
    assert isclose(summary.rate, 6 / 8)
    assert summary.sentence_error_rate == 1


def test_words_without_reference_are_all_insertions() -> None:
    assert word_errors("", "a b") == ErrorCounts(insertions=2)
    assert word_errors("", "a b").rate == 2
    assert word_errors(" ", "") == ErrorCounts()
    assert summarize([]).rate == 0


def test_exchanging_the_texts_exchanges_deletions_and_insertions() -> None:
    forth, back = word_errors("a b c d", "x b d"), word_errors("x b d", "a b c d")
    assert forth == ErrorCounts(substitutions=1, deletions=1, length=4)
    assert back == ErrorCounts(substitutions=1, insertions=1, length=3)


def test_long_texts_are_counted() -> None:
    words = [str(number) for number in range(3000)]
    found = [word for place, word in enumerate(words) if place % 100]
    assert word_errors(" ".join(words), " ".join(found)) == ErrorCounts(deletions=30, length=3000)


def test_ranges_of_duration_hold_their_lower_border_and_add_up() -> None:
    items = [
        (0.5, word_errors("a", "b")),
        (5.0, word_errors("a b", "a")),
        (4.999, ErrorCounts()),
        (80.0, ErrorCounts()),
    ]
    groups = {name: summarize(group) for name, group in group_by_range(items, [5.0, 10.0]).items()}
    assert {name: group.utterances for name, group in groups.items()} == {"0-5": 2, "5-10": 1, "10-": 1}
    assert sum((group.counts for group in groups.values()), ErrorCounts()) == summarize(c for _, c in items).counts
    assert [*group_by_range([], (4, 8), step=1)] == ["0-3", "4-7", "8-"]


@pytest.mark.parametrize("edges", [[5.0, 5.0], [0.0, 3.0], [10.0, 5.0]])
def test_borders_must_ascend_from_above_zero(edges: list[float]) -> None:
    with pytest.raises(ValueError, match="positive ascending bounds"):
        group_by_range([], edges)


def test_interval_holds_the_figure_and_shrinks_with_the_number_of_utterances() -> None:
    few, many = bootstrap_interval(random_items(0, 40)), bootstrap_interval(random_items(0, 40) * 16)
    assert few.low < few.value == many.value < few.high
    assert isclose((few.high - few.low) / (many.high - many.low), 4, rel_tol=0.15)  # as the square root


def test_interval_is_that_of_naive_resampling() -> None:
    items = random_items(1)
    draw = np.random.default_rng(5)
    errors = [item.errors for item in items]
    rates = [sum(draw.choice(errors, len(errors))) / (10 * len(errors)) for _ in range(2000)]
    low, high = np.quantile(rates, (0.025, 0.975))
    interval = bootstrap_interval(items, samples=2000)
    assert np.allclose((interval.low, interval.high), (low, high), atol=0.01)


def test_interval_repeats_with_its_seed() -> None:
    assert bootstrap_interval(random_items(2), seed=3) == bootstrap_interval(random_items(2), seed=3)
    assert bootstrap_interval(random_items(2), seed=3) != bootstrap_interval(random_items(2), seed=4)


def test_pairing_shows_a_difference_that_single_intervals_hide() -> None:
    worse = random_items(4)
    better = [ErrorCounts(max(item.substitutions - (place % 6 == 0), 0), item.deletions, item.insertions, 10)
              for place, item in enumerate(worse)]  # fmt: skip
    comparison = paired_bootstrap(better, worse)
    assert bootstrap_interval(better).high > bootstrap_interval(worse).low
    assert comparison.difference.high < 0
    assert comparison.share_first_better > 0.99


def test_equal_systems_differ_by_nothing() -> None:
    comparison = paired_bootstrap(random_items(5), random_items(5))
    assert (comparison.difference.low, comparison.difference.high, comparison.share_first_better) == (0, 0, 0.5)


def test_systems_must_be_scored_on_the_same_utterances() -> None:
    with pytest.raises(ValueError, match=r"different references \(2 and 3 utterances\)"):
        paired_bootstrap(random_items(6, 2), random_items(6, 3))
    with pytest.raises(ValueError, match="at least one utterance"):
        bootstrap_interval([])
