"""What a trained network finds for the training questions: evidence of stage 2, and hard negatives of stage 1b."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from mnemic_ask.scoring import question_of
from mnemic_kit.progress import frame_progress
from mnemic_retrieval.batches import batches
from mnemic_retrieval.data import Query, Source
from mnemic_retrieval.murag import Assistant, EntryEncoder, MuragCheckpoint
from mnemic_retrieval.murag.searching import find
from mnemic_retrieval.store import ExactStore, Hit

HARD = 20
"""Items of each question among which hard negatives are."""

_BATCH = 64


@dataclass(frozen=True)
class Mined:
    """Ids of items for each question, by its id.

    Attributes:
        found: what is read for it, best first.
        hard: the closest items that do not answer it, best first.
    """

    found: dict[str, tuple[str, ...]]
    hard: dict[str, tuple[str, ...]]


def remember(checkpoint: MuragCheckpoint, sources: Sequence[Source], encode: EntryEncoder | None = None) -> Assistant:
    """Return a network with all items in its memory, with a progress bar.

    Args:
        checkpoint: the network.
        sources: the items.
        encode: as for `Assistant`.
    """
    assistant = Assistant(checkpoint, ExactStore(Assistant.settings_of(checkpoint)), _BATCH, encode)
    with frame_progress("encoding", len(sources), Console(stderr=True), "items") as advance:
        assistant.add(sources, lambda number: [advance() for _ in range(number)])
    return assistant


def mine(checkpoint: MuragCheckpoint, sources: Mapping[str, Source], queries: Sequence[Query]) -> Mined:
    """Search all training items for all training questions, none of which finds its own picture.

    Args:
        checkpoint: the network, after stage 1.
        sources: the items, by id.
        queries: the questions.
    """
    assistant = remember(checkpoint, [*sources.values()])
    mined = Mined({}, {})
    with frame_progress("searching", len(queries), Console(stderr=True), "questions") as advance:
        for query, found, close in _search(assistant, queries):
            mined.found[query.id] = tuple(hit.item.id for hit in found)
            mined.hard[query.id] = tuple(hit.item.id for hit in close if hit.item.id not in query.relevant)
            advance()
    return mined


def _search(assistant: Assistant, queries: Sequence[Query]) -> Iterator[tuple[Query, list[Hit], list[Hit]]]:
    number, hops = assistant.model.config.num_items, assistant.settings.hops
    for part in batches(queries, _BATCH):
        questions, own = [question_of(query) for query in part], [query.image for query in part]
        vectors = assistant.vectors(questions)
        found = find(assistant.store, questions, vectors, assistant.vectors, number, hops, own=own)
        close = find(assistant.store, questions, vectors, assistant.vectors, HARD, 1, own=own)
        yield from zip(part, found, close, strict=True)
