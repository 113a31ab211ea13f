"""Exact match and token F1 of short answers, as for SQuAD and open question answering."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from mnemic_core.errors import UserError

ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation))


def normalize_answer(text: str) -> str:
    """Return a text in lower case, without ASCII punctuation, articles and repeated spaces, with marks apart (NFD).

    Example:
        >>> normalize_answer("The  Beatles!")
        'beatles'
    """
    text = unicodedata.normalize("NFD", text).lower().translate(_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Return whether a prediction is one of the answers after normalization.

    Punctuation is dropped inside of numbers too: "3.5" equals "35"; see `matches_with_numbers`.

    Raises:
        UserError: there are no answers.

    Example:
        >>> exact_match("The Beatles", ["Beatles", "the beatles band"])
        True
    """
    return normalize_answer(prediction) in {normalize_answer(answer) for answer in _some(answers)}


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall of the words, of the answer that fits best; 0 to 1.

    Example:
        >>> token_f1("red apple", ["an apple", "a pear"])
        0.6666666666666666
    """
    return max(_f1(normalize_answer(prediction).split(), normalize_answer(answer).split()) for answer in _some(answers))


def matches_with_numbers(prediction: str, answers: Sequence[str]) -> bool:
    """Return whether a prediction equals one of the answers, with numbers compared by value.

    Example:
        >>> matches_with_numbers("3.5", ["35"]), matches_with_numbers("£1,000", ["1000"])
        (False, True)
    """
    return _by_value(prediction) in map(_by_value, _some(answers))


def _by_value(text: str) -> tuple[str, list[str]]:
    """Return a text with a word in place of its numbers, without currency signs, and the numbers."""
    numbers = [_canonical(found.replace(",", "")) for found in _NUMBER.findall(text)]
    words = "".join(letter for letter in _NUMBER.sub(" number ", text) if unicodedata.category(letter) != "Sc")
    return normalize_answer(words), numbers


def _canonical(number: str) -> str:
    """Return the value of a number; dates and versions with several points stay as they are."""
    return number if number.count(".") > 1 else str(float(number))


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:  # two empty texts agree
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def _some(answers: Sequence[str]) -> Sequence[str]:
    if isinstance(answers, str) or not answers:
        raise UserError(f"answers must be a list of at least one, got {answers!r}")
    return answers
