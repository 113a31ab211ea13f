"""Our own layout of a data set: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` in a folder."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
from mnemic_core.tensor_file import check_file
from mnemic_retrieval.data.json_lines import named, read_json_lines
from mnemic_retrieval.data.records import Query, Source
from mnemic_retrieval.store.items import Modality, modality_of

CORPUS, QUERIES, JUDGMENTS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"


@dataclass(frozen=True)
class CorpusFolder:
    """Sources and questions in one folder, which is also what other layouts are converted to.

    ``corpus.jsonl`` has ``id``, ``modality``, ``text``, ``image`` and ``meta``; ``queries.jsonl`` has ``qid``,
    ``question``, ``answers`` and, where there are any, ``image``, ``type``, ``keywords``, ``candidates`` and ``split``;
    ``qrels.tsv`` has a line with query, source and grade for each judgment, without a header. Pictures are named from
    the folder.

    Attributes:
        root: the folder.
    """

    root: Path

    def sources(self) -> Iterator[Source]:
        """Yield what goes into the memory.

        Raises:
            FileNotFoundError: there is no ``corpus.jsonl``.
            UserError: a line is damaged, or an id is there twice.
        """
        return read_corpus(self.root / CORPUS)

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of a part; those without ``split`` are in every part.

        Raises:
            FileNotFoundError: there is no ``queries.jsonl``.
            UserError: a line is damaged.
        """
        for place, line in read_json_lines(self.root / QUERIES):
            with named(place):
                if line.get("split", split) != split:
                    continue
                query = self._query(line)
            yield query

    @cached_property
    def _judgments(self) -> dict[str, dict[str, int]]:
        """Grade of each judged source, by query; empty without the file."""
        path = self.root / JUDGMENTS
        found: dict[str, dict[str, int]] = {}
        if not path.exists():
            return found
        check_file(path)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                query, source, grade = line.split("\t")
                found.setdefault(query, {})[source] = int(grade)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {number}: expected query, source and grade with tabs, got {line!r}"
                ) from error
        return found

    def _query(self, line: Mapping[str, Any]) -> Query:
        grades = self._judgments.get(line["qid"], {})
        return Query(
            line["qid"],
            line["question"],
            tuple(line.get("answers", [])),
            self._image(line),
            line.get("type", ""),
            line.get("keywords", ""),
            {source: grade for source, grade in grades.items() if grade > 0},
            tuple(line.get("candidates", [])),
        )

    def _image(self, line: Mapping[str, Any]) -> str | None:
        return None if line.get("image") is None else str(self.root / line["image"])


def read_corpus(path: Path) -> Iterator[Source]:
    """Yield the items of a file with one JSON object a line, whose pictures are named from its folder.

    ``id`` is needed, and ``text`` or ``image``; ``modality`` follows from these where it is not given.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a line is damaged, or an id is there twice.
    """
    places: dict[str, str] = {}
    for place, line in read_json_lines(path):
        with named(place):
            source = _source(line, path.parent)
            if source.id in places:
                raise UserError(f"the id {source.id!r} is there already, in {places[source.id]}")
        places[source.id] = place
        yield source


def _source(line: Mapping[str, Any], folder: Path) -> Source:
    text = line.get("text") or ""
    image = None if line.get("image") is None else str((folder / line["image"]).absolute())
    modality = line.get("modality") or modality_of(_text(text), image)
    if modality not in get_args(Modality):
        raise UserError(f"modality must be one of {', '.join(get_args(Modality))}, got {modality!r}")
    return Source(_text(line["id"]), modality, _text(text), image, line.get("meta") or {})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"id and text must be strings, got {value!r}")
    return value


def write_corpus(folder: str | Path, sources: Iterable[Source], queries: Mapping[str, Iterable[Query]]) -> None:
    """Write a data set to a folder, each file completely or not at all.

    Args:
        folder: created if absent.
        sources: what goes into the memory; pictures stay where they are.
        queries: questions of each part.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CORPUS) as path, path.open("w", encoding="utf-8") as file:
        for source in sources:
            image = None if source.image is None else str(Path(source.image).absolute())
            row = {"id": source.id, "modality": source.modality, "text": source.text, "image": image}
            _write_line(file, row | {"meta": dict(source.metadata)})
    with (
        replacing(folder / QUERIES) as path,
        replacing(folder / JUDGMENTS) as judgments,
        path.open("w", encoding="utf-8") as file,
        judgments.open("w", encoding="utf-8") as grades,
    ):
        for split, part in queries.items():
            for query in part:
                _write_line(file, _row(query) | {"split": split})
                for source_id, grade in query.relevant.items():
                    grades.write(f"{query.id}\t{source_id}\t{grade}\n")


def _row(query: Query) -> dict[str, Any]:
    image = None if query.image is None else str(Path(query.image).absolute())
    row = {"qid": query.id, "question": query.question, "answers": list(query.answers)}
    further = {
        "image": image,
        "type": query.category,
        "keywords": query.keywords,
        "candidates": list(query.candidates),
    }
    return row | {name: value for name, value in further.items() if value}


def _write_line(file: Any, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
