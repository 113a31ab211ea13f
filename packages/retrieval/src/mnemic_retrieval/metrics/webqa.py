"""Accuracy of answers to WebQA, as its official script computes it (WebQnA/WebQA_Baseline, eval_1022)."""

import re
import string
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mnemic_retrieval.metrics.number_words import NUMBER_WORDS
from mnemic_retrieval.metrics.squad import ARTICLES

# As in the script, a "yes" among the colors included.
_COLORS = (
    "aqua beige black blonde blue bluere bluewhite bronze brown chrome gold golden gray green grey ivory "
    "maroon orange orangebrown orangepurple pink purple rainbow red redorange rust silver spot tan teal "
    "transparent turquoise violet white yellow yes"
)
COLORS = frozenset(_COLORS.split())
_SHAPES = (
    "arch ball bell bellshaped bow circle circular concave cone conical convex corkscrew crescent crest "
    "cross crosse cube cuboid curl curve cylinder cylindrical diamond dome domeshape dot flat flower fold "
    "fork globe globular h heart hexagon hook hoop keyhole obelisk octagon octagonal octogon oval "
    "pentagon point pyramid pyramidal rectangle rectangular ring round rounded semicircle shamrock slope "
    "sphere spherical spiral square star step straight teardrop torus triangle triangular tube wavy xs"
)
SHAPES = frozenset(_SHAPES.split())
_CLOSED = {"color": COLORS, "shape": SHAPES, "YesNo": frozenset({"yes", "no"})}
_BY_F1 = {*_CLOSED, "number"}
_DROPPED = str.maketrans(dict.fromkeys(set(string.punctuation) - {"."}))
_FULL_STOP = re.compile(r"\.(?!\d)")


@dataclass(frozen=True)
class WebQaScores:
    """Scores of one answer, 0 to 1; all are 0 where nothing agrees.

    Attributes:
        f1: of the words, with 1e-5 in the denominator.
        precision: share of the candidate's words that are keywords.
        recall: share of the keywords that are found.
        exact: whether both have the same words in the same order.
        accuracy: F1 for colors, shapes, numbers and yes or no, recall for all others.
    """

    f1: float
    precision: float
    recall: float
    exact: bool
    accuracy: float


def score_webqa(
    candidate: str, keywords: str, category: str, lemmatize: Callable[[str], str] | None = None
) -> WebQaScores:
    """Return the scores of an answer.

    Colors, shapes and yes or no are compared as sets of words from closed lists, in which "gray" is not "grey";
    numbers by their integers, decimals are dropped.

    Args:
        candidate: the answer.
        keywords: of the reference answer.
        category: ``Qcate`` of the question.
        lemmatize: from normalized text to lemmas, in the official script by spaCy's ``en_core_web_sm``; None: not done.

    Example:
        >>> score_webqa("A lion and an eagle.", "lion eagle", "Others").accuracy
        1.0
    """
    found, wanted = (_words(normalize_webqa(text, lemmatize).split(), category) for text in (candidate, keywords))
    common = (Counter(found) & Counter(wanted)).total()
    if not common:
        return WebQaScores(0.0, 0.0, 0.0, False, 0.0)
    precision, recall = common / len(found), common / len(wanted)
    f1 = 2 * precision * recall / (precision + recall + 1e-5)
    return WebQaScores(f1, precision, recall, found == wanted, f1 if category in _BY_F1 else recall)


def normalize_webqa(text: str, lemmatize: Callable[[str], str] | None = None) -> str:
    """Return a text in lower case with number words as digits, without articles and, but for decimals, punctuation.

    One word keeps an article, one character everything.

    Example:
        >>> normalize_webqa("The 3.5 tons, twenty one!")
        '3.5 tons 20 1'
    """
    given = text.lower()
    if len(given.strip()) == 1:
        return _digits(given)
    is_one_word = len(given.split()) == 1
    given = _FULL_STOP.sub("", given.translate(_DROPPED))
    normalized = _digits(given if is_one_word else ARTICLES.sub(" ", given))
    return normalized if lemmatize is None else lemmatize(normalized)


def _words(words: list[str], category: str) -> list[str]:
    if category in _CLOSED:
        return sorted(_CLOSED[category].intersection(words))
    if category != "number":
        return words
    integers = []
    for word in words:
        with suppress(ValueError):
            integers.append(str(int(word)))
    return integers


def _digits(text: str) -> str:
    return " ".join(_digit(word) for word in text.split())


def _digit(word: str) -> str:
    if word in NUMBER_WORDS:
        return str(NUMBER_WORDS[word])
    return str(int(word)) if word.isdecimal() else word
