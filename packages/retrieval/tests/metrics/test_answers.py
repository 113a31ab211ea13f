import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.metrics import exact_match, list_exact_match, list_f1, matches_with_numbers, score_webqa, token_f1
from mnemic_retrieval.metrics.number_words import NUMBER_WORDS


def test_number_words_are_those_of_the_library_that_the_official_scripts_call() -> None:
    w2n = pytest.importorskip("word2number.w2n")
    assert {word: w2n.word_to_num(word) for word in w2n.american_number_system} == {**NUMBER_WORDS, "point": 0}


@pytest.mark.parametrize(
    ("prediction", "answer", "squad", "by_value"),
    [
        ("3.5", "35", True, False),
        ("£5", "5", False, True),
        ("1,000", "1000", True, True),
        ("5.0", "5", False, True),
        ("June 5, 2012", "june 5 2012", True, True),
        ("version 1.2.3", "version 1.2.4", False, False),
        ("5 apples", "5 pears", False, False),
        ("", "", True, True),
    ],
)
def test_numbers_are_compared_by_value_where_asked(prediction: str, answer: str, squad: bool, by_value: bool) -> None:
    assert exact_match(prediction, [answer]) is squad
    assert matches_with_numbers(prediction, [answer]) is by_value


def test_accents_count() -> None:
    assert not exact_match("Cafe", ["Café"])
    assert exact_match("Cafe\u0301", ["Café"])


@pytest.mark.parametrize(
    ("prediction", "expected"), [("", 0.0), ("apple", 1.0), ("red apple tree", 0.5), ("pear", 0.0)]
)
def test_f1_of_words(prediction: str, expected: float) -> None:
    assert token_f1(prediction, ["an apple"]) == expected


def test_answers_must_be_a_list() -> None:
    for answers in ("apple", []):
        with pytest.raises(UserError, match="at least one"):
            exact_match("apple", answers)


def test_a_lemmatizer_lets_plurals_match() -> None:
    assert score_webqa("two lions", "lion", "Others").accuracy == 0
    assert score_webqa("two lions", "lion", "Others", lambda text: text.replace("lions", "lion")).accuracy == 1


def test_lists_without_answers() -> None:
    assert list_f1([], ["Paris"]) == list_f1(["Paris"], []) == 0
    assert list_exact_match([], [])
    assert list_f1([], []) == 1
