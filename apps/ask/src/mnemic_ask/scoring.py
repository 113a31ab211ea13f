"""Answers and rankings of a memory, scored question by question."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, TypeAlias

from mnemic_retrieval.data import Query, Source
from mnemic_retrieval.data.pictures import read_source_picture
from mnemic_retrieval.metrics import (
    exact_match,
    list_exact_match,
    list_f1,
    score_rankings,
    score_sets,
    score_webqa,
    token_f1,
)
from mnemic_retrieval.murag import Answer, Assistant, Question
from mnemic_retrieval.store import Eq, Filter, Hit

Metric: TypeAlias = Literal["squad", "multimodalqa", "webqa"]
"""How an answer is compared: with the best of several, with a list of answers, or with keywords as well."""

Mode: TypeAlias = Literal["memory", "none", "text", "oracle"]
"""What answers are read from: the memory, nothing, its texts alone, or the items that answer the question."""

MODES: tuple[Mode, ...] = ("memory", "none", "text", "oracle")
KS = (1, 5, 10)
TEXTS: Filter = Eq("modality", "text")


def question_of(query: Query) -> Question:
    """Return the question of a data set with its picture.

    Raises:
        FileNotFoundError: the picture is not where it should be.
        UserError: it is damaged.
    """
    return Question(query.question, None if query.image is None else read_source_picture(query.image))


def memory_sources(sources: Iterable[Source], queries: Iterable[Query]) -> list[Source]:
    """Return the items of a memory that is asked with pictures, without those that show one of these pictures."""
    asked = {query.image for query in queries} - {None}
    return [source for source in sources if source.image not in asked]


def ask_all(assistant: Assistant, queries: Sequence[Query], mode: Mode) -> list[Answer]:
    """Return an answer to each question.

    Args:
        assistant: with its memory.
        queries: the questions; of those with candidates these alone are searched.
        mode: what answers are read from.
    """
    questions = [question_of(query) for query in queries]
    if mode == "none":
        return assistant.read(questions, [[] for _ in queries])
    if mode == "oracle":
        return assistant.read(questions, [_in_memory(assistant, query) for query in queries])
    if any(query.candidates for query in queries):
        ranked = assistant.rank(questions, [query.candidates for query in queries])
        chosen = [[hit.item.id for hit in row if mode == "memory" or hit.item.modality == "text"] for row in ranked]
        return assistant.read(questions, chosen)
    return assistant.ask(questions, TEXTS if mode == "text" else None)


def search_all(assistant: Assistant, queries: Sequence[Query], k: int) -> list[list[Hit]]:
    """Return the best items for each question, of its candidates where it has any."""
    questions = [question_of(query) for query in queries]
    if any(query.candidates for query in queries):
        return [row[:k] for row in assistant.rank(questions, [query.candidates for query in queries])]
    return assistant.search(questions, k)


def score_answer(query: Query, answer: Answer, metric: Metric) -> dict[str, float]:
    """Return exact match and F1 of an answer, and how well it cites; of WebQA its accuracy too."""
    scores = _compare(query, answer.text, metric)
    if query.relevant:
        cited = score_sets(answer.cited, [*query.relevant])
        scores |= {"citation_precision": cited.precision, "citation_recall": cited.recall, "citation_f1": cited.f1}
    return scores


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each score over the rows that have it.

    Example:
        >>> means([{"em": 1.0, "citation_f1": 0.5}, {"em": 0.0}])
        {'em': 0.5, 'citation_f1': 0.5}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}


def ranking_scores(queries: Sequence[Query], hits: Sequence[Sequence[Hit]]) -> dict[str, float]:
    """Return recall, hits, reciprocal rank, average precision and nDCG; empty if no question has relevant items."""
    judged = {query.id: query.relevant for query in queries if query.relevant}
    if not judged:
        return {}
    results = {query.id: {hit.item.id: hit.score for hit in row} for query, row in zip(queries, hits, strict=True)}
    found = score_rankings(results, judged, KS)
    return {
        **{f"recall_at_{k}": found.recall[k] for k in KS},
        **{f"hit_at_{k}": found.hit[k] for k in KS},
        "mrr": found.mrr,
        "map": found.map,
        "ndcg_at_10": found.ndcg[10],
    }


def _compare(query: Query, text: str, metric: Metric) -> dict[str, float]:
    if metric == "multimodalqa":
        written = [part.strip() for part in text.split(",")] if len(query.answers) > 1 else [text]
        return {"em": float(list_exact_match(written, query.answers)), "f1": list_f1(written, query.answers)}
    scores = {"em": float(exact_match(text, query.answers)), "f1": token_f1(text, query.answers)}
    if metric == "webqa":
        scores["accuracy"] = score_webqa(text, query.keywords or query.answers[0], query.category).accuracy
    return scores


def _in_memory(assistant: Assistant, query: Query) -> list[str]:
    """Return the relevant items that the memory holds, those of one modality and text after one another."""
    known = [item for item in assistant.store.get([*query.relevant]) if item is not None]
    unique: dict[Any, str] = {}
    for item in known:
        unique.setdefault((item.modality, item.text or item.id), item.id)
    return [*unique.values()]
