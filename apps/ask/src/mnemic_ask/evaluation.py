"""A checkpoint on a data set: answers with and without memory, rankings, citations and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mnemic_ask.murag.mining import remember
from mnemic_ask.scoring import (
    MODES,
    Metric,
    Mode,
    ask_all,
    means,
    memory_sources,
    ranking_scores,
    score_answer,
    search_all,
)
from mnemic_core.errors import UserError
from mnemic_kit.progress import frame_progress
from mnemic_retrieval.batches import batches
from mnemic_retrieval.data import CorpusFolder, MultimodalQa, Query, QuestionSet, Source, StampFolder, WebQa
from mnemic_retrieval.data.corpus import CORPUS
from mnemic_retrieval.data.stamps import KIND, WHAT, WHICH
from mnemic_retrieval.murag import Assistant, EntryEncoder, MuragCheckpoint
from mnemic_retrieval.murag.timer import PARTS

_STEP = 16
_TIMED = 50  # questions that are answered one by one for the times
_SUFFIX: Mapping[Mode, str] = {"memory": "", "none": "_no_memory", "text": "_text_only", "oracle": "_oracle"}
_OF_CATEGORY = {WHAT: "entity_em", KIND: "hypernym_em"}


@dataclass(frozen=True)
class Task:
    """What a checkpoint is asked.

    Attributes:
        name: of the data.
        sources: items of the memory, without those that show the picture of a question.
        asked: questions with answers.
        sought: questions that ask for an item only.
        pools: items that these are sought in, by the end of the scores' names.
        metric: how answers are compared.
        parts: part of the data set that each question is of, by its id; empty if they are all of one.
    """

    name: str
    sources: Sequence[Source]
    asked: Sequence[Query]
    sought: Sequence[Query] = ()
    pools: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    metric: Metric = "squad"
    parts: Mapping[str, str] = field(default_factory=dict)


def open_task(data: Path, facts: Path | None = None, split: str | None = None) -> Task:
    """Return the task of a data set.

    Args:
        data: folder of stamps, of our own layout or of MultimodalQA, or the file of WebQA.
        facts: file of facts for stamps.
        split: whose questions are asked; default: all of stamps that are not trained on, ``val`` of WebQA, ``dev`` of
            MultimodalQA, ``test`` of others.

    Raises:
        FileNotFoundError: there is nothing.
        UserError: the layout is not known, or the split has no questions.
    """
    if not data.exists():
        raise FileNotFoundError(f"nothing at {data}")
    if (data / "index.jsonl").is_file():
        return _stamp_task(StampFolder(data, facts), split)
    if facts is not None:
        raise UserError(f"--facts are for a folder of stamps, with index.jsonl, which {data} is not")
    opened: tuple[QuestionSet, str, Metric]
    if data.is_file():
        opened = WebQa(data, _beside(data)), split or "val", "webqa"
    elif (data / CORPUS).is_file():
        opened = CorpusFolder(data), split or "test", "squad"
    elif any(data.glob("MMQA_*.jsonl*")):
        opened = MultimodalQa(data), split or "dev", "multimodalqa"
    else:
        raise UserError(f"{data} is no data set: expected index.jsonl, {CORPUS}, MMQA_*.jsonl.gz or the JSON of WebQA")
    questions, part, metric = opened
    queries = [*questions.queries(part)]
    if not queries:
        raise UserError(f"{data} has no questions in {part!r}: choose another --split")
    return task_of(data.name, [*questions.sources()], queries, metric)


def evaluate_task(checkpoint: MuragCheckpoint, task: Task, console: Console) -> dict[str, Any]:
    """Return all scores by name; see the command for what they are."""
    summary: dict[str, Any] = {"questions": len(task.asked), "items": len(task.sources)}
    encode = EntryEncoder(checkpoint.model.eval(), checkpoint.tokenizer)
    if task.asked:
        assistant = remember(checkpoint, task.sources, encode)
        summary |= _answer_scores(assistant, task, console)
        summary |= {f"evidence_{name}": value for name, value in _rankings(assistant, task.asked).items()}
        summary["latency_ms"] = latency(checkpoint, assistant, task.asked[:_TIMED])
    for suffix, pool in task.pools.items():
        found = _rankings(remember(checkpoint, pool, encode), task.sought)
        summary |= {f"{name}{suffix}": value for name, value in found.items()}
    if not task.pools:
        names = [name for name in summary if name.startswith("evidence_")]
        summary |= {name.removeprefix("evidence_"): summary[name] for name in names}
    return summary


def latency(checkpoint: MuragCheckpoint, assistant: Assistant, queries: Sequence[Query]) -> dict[str, dict[str, float]]:
    """Return median and 95th percentile of the milliseconds of each part, questions answered one by one."""
    alone = Assistant(checkpoint, assistant.store, batch_size=1)
    answers = ask_all(alone, queries, "memory")
    times = {part: [1000 * answer.seconds[part] for answer in answers] for part in PARTS}
    times["total"] = [1000 * sum(answer.seconds.values()) for answer in answers]
    return {f"p{share}": {part: float(np.percentile(times[part], share)) for part in times} for share in (50, 95)}


def _answer_scores(assistant: Assistant, task: Task, console: Console) -> dict[str, Any]:
    summary: dict[str, Any] = {"categories": {}}
    for mode in MODES:
        rows = answer_rows(assistant, task, mode, console)
        suffix = _SUFFIX[mode]
        scores = means(rows)
        kept = [name for name in scores if mode == "memory" or not name.startswith("citation")]
        summary |= {f"{name}{suffix}": scores[name] for name in kept}
        for category, chosen in _grouped(rows, [query.category for query in task.asked]).items():
            found = summary["categories"].setdefault(category, {"questions": len(chosen)})
            found[f"em{suffix}"] = means(chosen)["em"]
            if category in _OF_CATEGORY:
                summary[f"{_OF_CATEGORY[category]}{suffix}"] = found[f"em{suffix}"]
        groups = [f"{task.parts[query.id]}, {query.category}" if task.parts else "" for query in task.asked]
        for group, chosen in _grouped(rows, groups).items():
            part = summary.setdefault("parts", {}).setdefault(group, {"questions": len(chosen)})
            part[f"em{suffix}"] = means(chosen)["em"]
    return summary


def _grouped(rows: Sequence[dict[str, float]], names: Sequence[str]) -> dict[str, list[dict[str, float]]]:
    """Return rows by their names, those without a name left out."""
    groups: dict[str, list[dict[str, float]]] = {}
    for name, row in zip(names, rows, strict=True):
        if name:
            groups.setdefault(name, []).append(row)
    return groups


def answer_rows(assistant: Assistant, task: Task, mode: Mode, console: Console) -> list[dict[str, float]]:
    """Return the scores of each question, with a progress bar."""
    rows = []
    with frame_progress(f"answering ({mode})", len(task.asked), console, "questions") as advance:
        for part in batches(task.asked, _STEP):
            for query, answer in zip(part, ask_all(assistant, part, mode), strict=True):
                rows.append(score_answer(query, answer, task.metric))
                advance()
    return rows


def _rankings(assistant: Assistant, queries: Sequence[Query]) -> dict[str, float]:
    return ranking_scores(queries, [row for part in batches(queries, _STEP) for row in search_all(assistant, part, 10)])


def _stamp_task(folder: StampFolder, split: str | None) -> Task:
    parts = [*dict.fromkeys(stamp.part for stamp in folder.stamps)]
    if split is not None and split not in parts:
        raise UserError(f"{folder.root} has no part {split!r}: choose one of {', '.join(parts)}")
    chosen = [split] if split is not None else [part for part in parts if part != "train"] or parts
    of_parts = {part: [*folder.queries(part)] for part in chosen}
    queries = [query for found in of_parts.values() for query in found]
    task = task_of(folder.root.name, [*folder.sources()], queries, "squad")
    views = {part: [folder.view(stamp) for stamp in folder.stamps if stamp.part == part] for part in parts}
    pools = {"": [view for part in chosen for view in views[part]]}
    if len(chosen) < len(parts):
        pools["_all_pictures"] = [view for part in parts for view in views[part]]
    sought = [query for query in queries if query.category == WHICH]
    part_of = {query.id: part for part, found in of_parts.items() for query in found}
    return replace(task, sought=sought, pools=pools, parts=part_of)


def task_of(name: str, sources: Sequence[Source], queries: Sequence[Query], metric: Metric) -> Task:
    """Return the task of asking a data set's questions that have answers.

    Raises:
        UserError: none has.
    """
    asked = [query for query in queries if query.answers]
    if not asked:
        raise UserError(f"the questions of {name} have no answers to compare with: choose another --split")
    return Task(name, memory_sources(sources, asked), asked, metric=metric)


def _beside(file: Path) -> Path | None:
    """Return the pictures beside the file of WebQA."""
    images = file.with_name("imgs.tsv")
    return images if images.is_file() else None
