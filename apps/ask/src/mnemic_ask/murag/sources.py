"""Data sets of questions over pictures and texts."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError
from mnemic_retrieval.data import (
    CorpusFolder,
    GeneratedShapes,
    MultimodalQa,
    Query,
    QuestionSet,
    Source,
    StampFolder,
    WebQa,
)


@dataclass(frozen=True)
class DataSource:
    """A data set, or a part of it.

    Args:
        name: ``webqa``, ``multimodalqa``, ``stamps``, a folder in our own layout (``corpus``), or ``generated`` shapes.
        root: the folder, or the file of WebQA; of generated shapes the folder to draw them in.
        split: whose questions are used; default: that of its place in the config, ``dev`` of MultimodalQA for ``val``.
        images: pictures that are elsewhere: ``imgs.tsv`` of WebQA, or the folder of those of MultimodalQA.
        facts: file of facts for stamps.
        parts: parts of stamps whose pictures and captions are sources; default: all.
        has_views: whether pictures of stamps without their captions are sources too.
        number: of generated pictures.
    """

    name: Literal["webqa", "multimodalqa", "stamps", "corpus", "generated"]
    root: Path
    split: str | None = None
    images: Path | None = None
    facts: Path | None = None
    parts: tuple[str, ...] | None = None
    has_views: bool = False
    number: int = 2000

    def __str__(self) -> str:
        """Return a short description."""
        return f"{self.name} {self.root}{f' {self.split}' if self.split else ''}"

    def open(self) -> QuestionSet:
        """Return the data set, which is read when asked for."""
        if self.name == "webqa":
            return WebQa(self.root, self.images)
        if self.name == "multimodalqa":
            return MultimodalQa(self.root, self.images)
        if self.name == "stamps":
            return StampFolder(self.root, self.facts, self.parts, self.has_views)
        return CorpusFolder(self.root) if self.name == "corpus" else GeneratedShapes(self.root, self.number)

    def part(self, place: str) -> str:
        """Return the name of the data set's part for ``train``, ``val`` or ``test``."""
        if self.split is not None:
            return self.split
        return "dev" if self.name == "multimodalqa" and place == "val" else place


@dataclass(frozen=True)
class Opened:
    """What data sets hold.

    Attributes:
        sources: what goes into the memory, by id.
        queries: the questions.
    """

    sources: dict[str, Source]
    queries: list[Query]


def open_sources(sources: tuple[DataSource, ...], place: str) -> Opened:
    """Return the sources and questions of data sets together.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file is damaged, or two data sets have an id in common.
    """
    opened = Opened({}, [])
    for source in sources:
        data = source.open()
        for each in data.sources():
            if each.id in opened.sources:
                raise UserError(f"{source} has an id {each.id!r} that another data set has too: train on one of them")
            opened.sources[each.id] = each
        opened.queries.extend(data.queries(source.part(place)))
    if twice := [name for name, number in Counter(query.id for query in opened.queries).items() if number > 1]:
        raise UserError(f"the data sets have two questions of the id {twice[0]!r}: give one of them another id")
    return opened
