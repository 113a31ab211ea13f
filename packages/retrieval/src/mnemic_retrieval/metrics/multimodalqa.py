"""Exact match and F1 of lists of answers, as MultimodalQA's official script computes them, after that of DROP."""

import re
import string
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mnemic_retrieval.metrics.number_words import NUMBER_WORDS
from mnemic_retrieval.metrics.squad import ARTICLES

_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation))
_SEPARATOR = re.compile("[ -]")
_WORDS = NUMBER_WORDS | {"point": 0}  # the library that the script calls reads it as 0


def list_exact_match(prediction: Sequence[str], answers: Sequence[str]) -> bool:
    """Return whether a list has the same normalized answers, in any order.

    Example:
        >>> list_exact_match(["Paris", "London"], ["the London", "Paris"])
        True
    """
    found, wanted = ([_normalize(text) for text in texts] for texts in (prediction, answers))
    return set(found) == set(wanted) and len(found) == len(wanted)


def list_f1(prediction: Sequence[str], answers: Sequence[str]) -> float:
    """Return the mean F1 of the words of answers that are assigned to each other, rounded to two digits; 0 to 1.

    An answer with numbers fits only one that shares a number. Answers without a partner count as 0.

    Example:
        >>> list_f1(["June 5 2012"], ["June 5 2013"])
        0.67
    """
    found, wanted = ([set(_normalize(text).split()) for text in texts] for texts in (prediction, answers))
    if not found or not wanted:
        return float(len(found) == len(wanted))
    scores = np.array([[_f1(one, other) if _shares_number(one, other) else 0.0 for other in found] for one in wanted])
    rows, columns = linear_sum_assignment(-scores)
    return round(float(scores[rows, columns].sum()) / max(len(found), len(wanted)), 2)


def _normalize(text: str) -> str:
    words = (_normalize_word(word) for word in _SEPARATOR.split(text.lower()))
    return " ".join(word for word in words if word)


def _normalize_word(word: str) -> str:
    if not _is_number(word):
        word = word.translate(_PUNCTUATION)
    if _is_number(word) or word in _WORDS:
        return str(float(_WORDS.get(word, word)))
    return " ".join(ARTICLES.sub(" ", word).split())


def _f1(wanted: set[str], found: set[str]) -> float:
    if not wanted and not found:
        return 1.0
    common = len(wanted & found)
    precision = common / len(found) if found else 1.0
    recall = common / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _shares_number(wanted: set[str], found: set[str]) -> bool:
    numbers = {word for word in wanted if _is_number(word)}
    return not numbers or bool(numbers & found)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
