"""A stand-in for a network with a memory: random vectors, the same for equal texts; it answers with a text."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from fastapi.testclient import TestClient
from torch import Tensor

from mnemic_ask.service.app import Service
from mnemic_ask.service.settings import ServerSettings
from mnemic_retrieval.data import Source
from mnemic_retrieval.murag.answers import Answer, Citation, Question
from mnemic_retrieval.pictures import picture_hash
from mnemic_retrieval.store import ExactStore, Filter, Hit, Item, LanceStore, MemoryStore, StoreSettings

DIM = 16


class HashedAssistant:
    """Finds items by their very text.

    Attributes:
        batches: number of questions in each call.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or ExactStore(StoreSettings(DIM, "hashed", {"year": "int", "place": "str", "tags": "tags"}))
        self.batches: list[int] = []

    def add(self, sources: Sequence[Source]) -> None:
        self.store.upsert([as_item(source) for source in sources])

    def search(self, questions: Sequence[Question], k: int, where: Filter | None = None) -> list[list[Hit]]:
        self.batches.append(len(questions))
        return self.store.search(torch.stack([vector(question.text) for question in questions]), k, where)

    def ask(self, questions: Sequence[Question], where: Filter | None = None) -> list[Answer]:
        rows = self.search(questions, 2, where)
        return [Answer(" ".join(hit.item.text for hit in row[:1]), tuple(map(as_citation, row))) for row in rows]


class HeldAssistant(HashedAssistant):
    """Answers questions when ``go`` is set; ``has_begun`` says that it would."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.has_begun = threading.Event(), threading.Event()

    def ask(self, questions: Sequence[Question], where: Filter | None = None) -> list[Answer]:
        self.has_begun.set()
        assert self.go.wait(20)
        return super().ask(questions, where)


@contextmanager
def served(assistant: HashedAssistant, settings: ServerSettings) -> Iterator[TestClient]:
    service = Service(assistant, settings)
    with TestClient(service.make_app(), raise_server_exceptions=False) as client:
        yield client
    service.worker.close()


def open_assistant(memory: str | None, checkpoint: Path | None, device: str) -> HashedAssistant:
    """Take the place of the function of that name which opens a network."""
    del checkpoint, device
    settings = StoreSettings(DIM, "hashed")
    if memory is None:
        return HashedAssistant(ExactStore(settings))
    is_there = (Path(memory) / "memory.json").exists()
    return HashedAssistant(LanceStore.open(memory) if is_there else LanceStore.create(memory, settings))


def vector(text: str) -> Tensor:
    seed = int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little") % 2**63
    return torch.nn.functional.normalize(torch.randn(DIM, generator=torch.Generator().manual_seed(seed)), dim=0)


def as_item(source: Source) -> Item:
    digest = None if source.image is None else picture_hash(source.image)
    return Item(source.id, vector(source.text), source.modality, source.text, source.image, digest, source.metadata)


def as_citation(hit: Hit) -> Citation:
    return Citation(hit.score, hit.item, 0.5, None if hit.item.image is None else (0.0, 0.0, 0.5, 1.0))
