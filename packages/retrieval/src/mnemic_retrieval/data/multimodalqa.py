"""MultimodalQA: questions over texts, tables and pictures of Wikipedia (arXiv 2104.06039)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic_retrieval.data.json_lines import named, read_json_lines
from mnemic_retrieval.data.records import Query, Source


@dataclass(frozen=True)
class MultimodalQa:
    """The folder of the data set, with files as they are released: ``MMQA_{train,dev,test}.jsonl.gz`` and the like.

    Tables are not read: questions that need one are left out unless asked for.

    Attributes:
        root: folder with the ``MMQA_*`` files.
        images: folder of the pictures, which come in a file of their own; None: ``final_dataset_images`` in ``root``.
        with_tables: keep questions that need a table, whose answers then cannot be found.
    """

    root: Path
    images: Path | None = None
    with_tables: bool = False

    def sources(self) -> Iterator[Source]:
        """Yield texts and pictures.

        Raises:
            FileNotFoundError: a file is missing.
            UserError: a line is damaged.
        """
        for place, line in read_json_lines(self._file("texts")):
            with named(place):
                source = Source(line["id"], "text", line["text"], metadata=_origin(line))
            yield source
        folder = self.images or self.root / "final_dataset_images"
        for place, line in read_json_lines(self._file("images")):
            with named(place):
                source = Source(line["id"], "image_text", line["title"], str(folder / line["path"]), _origin(line))
            yield source

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of ``train``, ``dev`` or ``test``; the last one has no answers.

        Raises:
            FileNotFoundError: a file is missing.
            UserError: a line is damaged.
        """
        for place, line in read_json_lines(self._file(split)):
            with named(place):
                query = _query(line)
                needs_table = "table" in line["metadata"].get("modalities", []) or "Table" in query.category
            if self.with_tables or not needs_table:
                yield query

    def _file(self, name: str) -> Path:
        packed = self.root / f"MMQA_{name}.jsonl.gz"
        plain = packed.with_suffix("")
        return plain if plain.exists() else packed


def _query(line: dict[str, Any]) -> Query:
    about = line["metadata"]
    return Query(
        line["qid"],
        line["question"],
        tuple(str(answer["answer"]) for answer in line.get("answers", [])),
        category=about.get("type", ""),
        relevant={each["doc_id"]: 1 for each in line.get("supporting_context", [])},
        candidates=(*about.get("text_doc_ids", []), *about.get("image_doc_ids", [])),
    )


def _origin(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("title", "url") if name in line}
