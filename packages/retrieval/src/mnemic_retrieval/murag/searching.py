"""Searching a memory once, or twice with what was found first."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from mnemic_retrieval.murag.answers import Question
from mnemic_retrieval.store import Filter, Hit, MemoryStore

_OWN = 4  # most items of a data set with the same picture


def first_number(number: int, hops: int) -> int:
    """Return how many of all items are found by the first search."""
    return number if hops == 1 else (number + 1) // 2


def second_question(question: str, found: str) -> str:
    """Return the text of the second search, from the question and the text of the best item."""
    return f"{question} {found}"


def find(
    store: MemoryStore,
    questions: Sequence[Question],
    vectors: Float[Tensor, "question dim"],
    vectors_of: Callable[[Sequence[Question]], Float[Tensor, "question dim"]],
    number: int,
    hops: int,
    where: Filter | None = None,
    own: Sequence[str | None] | None = None,
) -> list[list[Hit]]:
    """Return up to ``number`` items for each question, those of the first search before those of the second.

    Args:
        store: the memory.
        questions: the questions.
        vectors: of the questions.
        vectors_of: encodes the questions of the second search.
        number: of items.
        hops: 1 or 2 searches.
        where: which items may be found.
        own: picture of each question, whose items are not found for it, as in training; None: all may be found.
    """
    images = [None] * len(questions) if own is None else own
    found = _search(store, vectors, first_number(number, hops), where, images)
    if hops == 1 or number == 1:
        return found
    best = [row[0].item.text if row else "" for row in found]
    further = [Question(second_question(each.text, text)) for each, text in zip(questions, best, strict=True)]
    more = _search(store, vectors_of(further), number, where, images)
    return [_merged(first, second)[:number] for first, second in zip(found, more, strict=True)]


def _search(
    store: MemoryStore,
    vectors: Float[Tensor, "question dim"],
    number: int,
    where: Filter | None,
    own: Sequence[str | None],
) -> list[list[Hit]]:
    extra = _OWN if any(own) else 0
    rows = store.search(vectors, number + extra, where)
    kept = (
        [hit for hit in row if image is None or hit.item.image != image] for row, image in zip(rows, own, strict=True)
    )
    return [row[:number] for row in kept]


def _merged(first: list[Hit], second: list[Hit]) -> list[Hit]:
    known = {hit.item.id for hit in first}
    return first + [hit for hit in second if hit.item.id not in known]
