"""What the server needs of a network with a memory."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mnemic_retrieval.data import Source
from mnemic_retrieval.murag.answers import Answer, Question
from mnemic_retrieval.store import Filter, Hit, MemoryStore


@runtime_checkable
class Answering(Protocol):
    """A network and its memory; the server calls it from one thread only.

    Attributes:
        store: the memory.
    """

    store: MemoryStore

    def add(self, sources: Sequence[Source]) -> None:
        """Encode sources and put them into the memory, all or none; their pictures are files of this machine."""

    def search(self, questions: Sequence[Question], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Return up to ``k`` items for each question, best first."""

    def ask(self, questions: Sequence[Question], where: Filter | None = None) -> list[Answer]:
        """Return an answer to each question."""
