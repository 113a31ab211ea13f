"""What the worker thread does: all that touches the network and its memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mnemic_ask.service.interface import Answering
from mnemic_ask.service.pictures import Picture, PictureFolder, decode, read_known
from mnemic_ask.service.replies import answered, found
from mnemic_ask.service.requests import AskRequest, DeleteRequest, NewItem, SearchRequest, UpsertRequest, check_plain
from mnemic_ask.service.settings import MAX_PIXELS
from mnemic_retrieval.data import Source
from mnemic_retrieval.murag.answers import Question
from mnemic_retrieval.pictures import read_picture
from mnemic_retrieval.store import And, Eq, Filter, Not, Or, modality_of, parse_filter

WRITES = ("upsert", "delete")
WRITES_UNTIL_OPTIMIZED = 100
"""LanceDB puts each write into a file of its own, which searches read one by one."""


class Work:
    """Does batches of requests of one kind; those of a batch of searches or questions have the same filter.

    Args:
        assistant: the network and its memory.
        pictures: where uploaded pictures are kept.
    """

    def __init__(self, assistant: Answering, pictures: PictureFolder) -> None:
        self._assistant, self._store, self._pictures = assistant, assistant.store, pictures
        self._writes = 0

    def calls(self) -> Mapping[str, Callable[[list[Any]], list[Any]]]:
        """Return what does each kind of work."""
        return {
            "search": self.search,
            "ask": self.ask,
            "upsert": self.upsert,
            "delete": self.delete,
            "count": self.count,
            "picture": self.picture,
        }

    def search(self, requests: list[SearchRequest]) -> list[dict[str, Any]]:
        """Find items."""
        where, questions = self._prepare(requests)
        # The first hits of a longer list are those of a shorter one.
        rows = self._assistant.search(questions, max(request.k for request in requests), where)
        return [{"hits": [found(hit) for hit in row[: request.k]]} for request, row in zip(requests, rows, strict=True)]

    def ask(self, requests: list[AskRequest]) -> list[dict[str, Any]]:
        """Answer questions."""
        where, questions = self._prepare(requests)
        return [answered(answer) for answer in self._assistant.ask(questions, where)]

    def upsert(self, requests: list[UpsertRequest]) -> list[dict[str, Any]]:
        """Add or replace items."""
        self._count_write()
        for request in requests:
            pictures = [_decoded(item) for item in request.items]  # all are checked before one is kept
            kept = [None if content is None else str(self._pictures.keep(content)) for content in pictures]
            self._assistant.add(list(map(_source, request.items, kept)))
        return [{"upserted": len(request.items)} for request in requests]

    def delete(self, requests: list[DeleteRequest]) -> list[dict[str, Any]]:
        """Remove items."""
        self._count_write()
        return [{"deleted": self._store.delete(request.ids)} for request in requests]

    def count(self, requests: list[None]) -> list[int]:
        """Count the items."""
        self._store.refresh()
        return [self._store.count()] * len(requests)

    def picture(self, digests: list[str]) -> list[Picture | None]:
        """Return pictures that items refer to."""
        self._store.refresh()
        return [self._of_an_item(digest) for digest in digests]

    def _count_write(self) -> None:
        """Optimize the store now and then, before a write: an error then is one of a write that was not made."""
        if self._writes >= WRITES_UNTIL_OPTIMIZED:
            self._store.optimize()
            self._writes = 0
        self._writes += 1

    def _prepare(self, requests: list[Any]) -> tuple[Filter | None, list[Question]]:
        where = None if requests[0].where is None else parse_filter(requests[0].where)
        check_plain(_values(where), "the filter")
        self._store.refresh()  # what other processes have written since
        return where, list(map(_question, requests))

    def _of_an_item(self, digest: str) -> Picture | None:
        nowhere = torch.zeros(1, self._store.settings.dim)  # as near to any item as to any other
        for hit in self._store.search(nowhere, 1, Eq("image_hash", digest))[0]:
            if hit.item.image is not None:
                return read_known(Path(hit.item.image), digest)
        return None


def _values(where: Filter | None) -> Any:
    """Return the values of a filter, as deep as it is nested."""
    if isinstance(where, And | Or):
        return [_values(part) for part in where.parts]
    return [_values(where.part)] if isinstance(where, Not) else where and list(vars(where).values())


def _question(request: AskRequest) -> Question:
    if request.image is None:
        return Question(request.question)
    return Question(request.question, read_picture(decode(request.image), MAX_PIXELS))


def _decoded(item: NewItem) -> bytes | None:
    if item.image is None:
        return None
    content = decode(item.image)
    read_picture(content, MAX_PIXELS)
    return content


def _source(item: NewItem, image: str | None) -> Source:
    return Source(item.id, modality_of(item.text, image), item.text, image, item.metadata)
