"""Scores of answers: exact match, F1, and whether a right answer was looked up."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from mnemic_ask.emat.sources import Example
from mnemic_retrieval.emat import Answer, Citation
from mnemic_retrieval.metrics import exact_match, token_f1

HITS = (1, 5, 10)


def score_answer(answer: Answer, example: Example, found: Sequence[Citation] | None = None) -> dict[str, Any]:
    """Return the record of a question, as plain values.

    ``hit_5`` is whether one of the best five pairs has a right answer.

    Args:
        answer: to the question.
        example: the question.
        found: the best pairs; None: those that the network read, which may be fewer than hits look at.
    """
    found = answer.citations if found is None else found
    right = [exact_match(each.known.answers[0], example.answers) for each in found]
    return {
        "question": example.forms[0],
        "answer": answer.text,
        "answers": list(example.answers),
        "relation": example.relation,
        "citations": [[each.score, each.known.question, each.known.answers[0]] for each in answer.citations],
        "em": float(exact_match(answer.text, example.answers)),
        "f1": token_f1(answer.text, example.answers),
        **{f"hit_{number}": float(any(right[:number])) for number in HITS},
    }


def mean_scores(records: Collection[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means over all questions, and exact match for each relation.

    Example:
        >>> record = {"f1": 1.0, "hit_1": 1.0, "hit_5": 1.0, "hit_10": 1.0}
        >>> mean_scores([record | {"em": 1.0, "relation": "kind"}, record | {"em": 0.0, "relation": "word"}])
        {'em': 0.5, 'f1': 1.0, 'hit_1': 1.0, 'hit_5': 1.0, 'hit_10': 1.0, 'em_kind': 1.0, 'em_word': 0.0}
    """
    names = ("em", "f1", *(f"hit_{number}" for number in HITS))
    means = {name: fmean(record[name] for record in records) for name in names}
    relations = sorted({record["relation"] for record in records} - {""})
    return means | {
        f"em_{relation}": fmean(record["em"] for record in records if record["relation"] == relation)
        for relation in relations
    }
