"""Questions with answers: NQ-open, TriviaQA, WebQuestions and PAQ as EMAT has them, PAQ's metadata, and KILT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnemic_retrieval.data.json_lines import named, read_json_lines
from mnemic_retrieval.emat.memory import KnownAnswer

_SOURCE = ("passage_id", "offset", "extractor")


def read_questions(path: str | Path, limit: int | None = None) -> Iterator[KnownAnswer]:
    """Yield the questions of a file with one JSON object a line.

    Each has ``question`` and ``answer`` (or ``answers``), a list of strings or, in PAQ's metadata, of objects with
    ``text`` and where it is from; or ``input`` and ``output``, a list of objects with ``answer``, in KILT.

    Args:
        path: the file, also ``.gz``.
        limit: most questions; PAQ has 65 million. None: all.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a line lacks a question or an answer.
    """
    for number, (place, line) in enumerate(read_json_lines(path)):
        if limit is not None and number >= limit:
            return
        with named(place):
            known = _kilt(line) if "input" in line else _pair(line)
        yield known


def _pair(line: dict[str, Any]) -> KnownAnswer:
    answers = line["answer"] if "answer" in line else line["answers"]
    answers = [answers] if isinstance(answers, str) else list(answers)
    source = {"subsets": line["subsets"]} if "subsets" in line else {}
    if answers and isinstance(answers[0], dict):
        source |= {name: answers[0][name] for name in _SOURCE if name in answers[0]}
        answers = [answer["text"] for answer in answers]
    return KnownAnswer(_text(line["question"]), tuple(map(_text, answers)), source)


def _kilt(line: dict[str, Any]) -> KnownAnswer:
    outputs = [output for output in line["output"] if output.get("answer")]
    provenance = [each for output in outputs for each in output.get("provenance", [])]
    source = {"id": line.get("id"), "provenance": provenance}
    return KnownAnswer(_text(line["input"]), tuple(_text(output["answer"]) for output in outputs), source)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
