"""Evaluation of an EMAT on files."""

from pathlib import Path
from typing import Any, cast, get_args

from mnemic_ask.emat.evaluation import evaluate
from mnemic_ask.emat.sources import Example, Part, QuestionSource
from mnemic_core.errors import UserError
from mnemic_retrieval.data.questions import read_questions
from mnemic_retrieval.emat import EmatCheckpoint

_WORDNET = ("data.noun", "facts.jsonl")


def evaluate_files(checkpoint: EmatCheckpoint, data: Path, known: Path | None, split: str | None) -> dict[str, Any]:
    """Return what `evaluate` returns, with the main scores by the names that other systems have.

    Args:
        checkpoint: the network.
        data: file of questions with answers, as EMAT's repository has them, or of WordNet's nouns.
        known: file of questions with answers that fill the memory; None: what is known of WordNet's nouns.
        split: part of WordNet's words; default: test.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a line is malformed, there is no such part, or nothing fills the memory.
    """
    examples = open_examples(data, split)
    if known is None and data.name not in _WORDNET:
        raise UserError("give --known, the file of questions with answers that fill the memory")
    pairs = [example.known for example in examples] if known is None else [*read_questions(known)]
    found = evaluate(checkpoint, examples, pairs)
    with_memory, without = found["with_memory"], found["without_memory"]
    main = {name: with_memory[name] for name in ("em", "f1")}
    return main | {f"{name}_no_memory": without[name] for name in main} | found


def open_examples(data: Path, split: str | None) -> list[Example]:
    """Return the questions of a file; arguments and errors as above."""
    if data.name not in _WORDNET:
        return QuestionSource("questions", data).open()
    if split is not None and split not in get_args(Part):
        raise UserError(f"the parts of WordNet's words are {', '.join(get_args(Part))}, got {split!r}")
    return QuestionSource("wordnet", data, cast(Part, split or "test")).open()
