"""WebQA: questions over snippets of text and pictures with captions (arXiv 2109.00590)."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file
from mnemic_retrieval.data.json_lines import named
from mnemic_retrieval.data.records import Query, Source

_POSITIVE, _NEGATIVE = ("txt_posFacts", "img_posFacts"), ("txt_negFacts", "img_negFacts")


@dataclass(frozen=True)
class WebQa:
    """The JSON file of the data set, one object with a record for each question.

    Attributes:
        path: such as ``WebQA_train_val.json``.
        images: ``imgs.tsv`` beside ``imgs.lineidx``; pictures are named by it and their id. None: captions alone.
    """

    path: Path
    images: Path | None = None

    def sources(self) -> Iterator[Source]:
        """Yield the facts of all questions, each once.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is damaged.
        """
        seen = set()
        for guid, record in self._records.items():
            with named(f"{self.path}, {guid}"):
                sources = [self._source(fact) for fact in _facts(record, (*_POSITIVE, *_NEGATIVE))]
            for source in sources:
                if source.id not in seen:
                    seen.add(source.id)
                    yield source

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of ``train``, ``val`` or ``test``; the last one has no answers.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is damaged.
        """
        for guid, record in self._records.items():
            with named(f"{self.path}, {guid}"):
                if record.get("split", split) != split:
                    continue
                facts = {names: [_id(fact) for fact in _facts(record, names)] for names in (_POSITIVE, _NEGATIVE)}
                query = Query(
                    guid,
                    _text(record["Q"]),
                    tuple(map(_text, record.get("A", []))),
                    category=record.get("Qcate", ""),
                    keywords=_text(record.get("Keywords_A", "")),
                    relevant=dict.fromkeys(facts[_POSITIVE], 1),
                    candidates=tuple(dict.fromkeys(facts[_POSITIVE] + facts[_NEGATIVE])),
                )
            yield query

    def picture(self, identity: str) -> bytes:
        """Return the bytes of a picture.

        Args:
            identity: such as ``30000000``.

        Raises:
            FileNotFoundError: a file is missing, or it has no such picture.
            UserError: the line of the picture is damaged.
        """
        if self.images is None or identity not in self._offsets:
            raise FileNotFoundError(f"no picture {identity} in {self.images or 'no file of pictures'}")
        with self.images.open("rb") as file:
            file.seek(self._offsets[identity])
            columns = file.readline().rstrip(b"\r\n").split(b"\t")
        try:
            if columns[0].decode() != identity:
                raise ValueError(f"the line begins with {columns[0][:20]!r}")
            return base64.b64decode(columns[-1], validate=True)
        except (binascii.Error, ValueError) as error:
            raise UserError(f"{self.images}, picture {identity} is damaged ({error})") from error

    @cached_property
    def _records(self) -> dict[str, dict[str, Any]]:
        check_file(self.path)
        try:
            records = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.path} is no JSON ({error}): copy it again") from error
        if not isinstance(records, dict) or not all(isinstance(record, dict) for record in records.values()):
            raise UserError(f"{self.path} is not WebQA: expected an object with a record for each question")
        return records

    @cached_property
    def _offsets(self) -> dict[str, int]:
        """Place of each picture's line: the n-th of ``lineidx`` begins the n-th line."""
        assert self.images is not None
        index = self.images.with_suffix(".lineidx")
        check_file(index)
        found = {}
        with self.images.open("rb") as file:
            for offset in map(int, index.read_text().split()):
                file.seek(offset)
                found[file.read(32).split(b"\t")[0].decode(errors="replace")] = offset
        return found

    def _source(self, fact: dict[str, Any]) -> Source:
        about: dict[str, Any] = {name: fact[name] for name in ("title", "url") if name in fact}
        if "image_id" not in fact:
            return Source(_id(fact), "text", _text(fact["fact"]), metadata=about)
        identity = _id(fact)
        image = None if self.images is None else f"{self.images}#{identity}"
        return Source(identity, "image_text" if image else "text", _text(fact["caption"]), image, about)


def _facts(record: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [fact for name in names for fact in record.get(name, [])]


def _id(fact: dict[str, Any]) -> str:
    return str(fact["image_id"] if "image_id" in fact else fact["snippet_id"])


def _text(value: str) -> str:
    """Return a text without the quotes that strings of this set carry inside."""
    return value.replace('"', "").strip()
