"""A network with a memory that can be filled, searched and asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least
from mnemic_retrieval.batches import batches
from mnemic_retrieval.data.pictures import picture_file, source_hash
from mnemic_retrieval.data.records import Source
from mnemic_retrieval.murag.answers import Answer, Citation, Question
from mnemic_retrieval.murag.checkpoint import MuragCheckpoint
from mnemic_retrieval.murag.citations import cite
from mnemic_retrieval.murag.encoder import Encoded
from mnemic_retrieval.murag.entries import Entry, EntryEncoder
from mnemic_retrieval.murag.model import fingerprint
from mnemic_retrieval.murag.reader import Evidence
from mnemic_retrieval.murag.searching import find
from mnemic_retrieval.murag.spans import span_choices
from mnemic_retrieval.murag.timer import Timer
from mnemic_retrieval.store import FieldType, Filter, Hit, Item, MemoryStore, StoreSettings, modality_of


class Assistant:
    """Answers questions from the items of a memory, which grows and shrinks without training.

    Args:
        checkpoint: trained network.
        store: the memory, made for this network, see `Assistant.settings_of`.
        batch_size: items or questions that are encoded at a time.
        encode: encoder of the same network with what it keeps, for several memories; None: a new one.

    Raises:
        UserError: the memory was made by another network.

    Example:
        >>> from mnemic_retrieval.murag import Murag, MuragSettings, murag_tiny
        >>> from mnemic_retrieval.store import ExactStore
        >>> from mnemic_retrieval.tokenizers import ByteTokenizer
        >>> checkpoint = MuragCheckpoint(Murag(murag_tiny()), MuragSettings(), {}, ByteTokenizer())
        >>> assistant = Assistant(checkpoint, ExactStore(Assistant.settings_of(checkpoint)))
        >>> assistant.add([Source("a", "text", "Frogs are amphibians."), Source("b", "text", "Rome is in Italy.")])
        >>> answer = assistant.ask([Question("What are frogs?")])[0]  # of a network that is not trained
        >>> sorted(citation.item.id for citation in answer.citations)
        ['a', 'b']
    """

    def __init__(
        self,
        checkpoint: MuragCheckpoint,
        store: MemoryStore,
        batch_size: int = 16,
        encode: EntryEncoder | None = None,
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        self.model, self.settings = checkpoint.model.eval(), checkpoint.settings
        self.tokenizer, self.store, self.batch_size = checkpoint.tokenizer, store, batch_size
        self.encode = encode or EntryEncoder(self.model, self.tokenizer)
        if store.settings.encoder != (own := fingerprint(self.model)):
            raise UserError(
                f"the memory was made by the encoder {store.settings.encoder or '(unknown)'}, but this one is {own}: "
                "build it anew, or use its own"
            )

    @staticmethod
    def settings_of(checkpoint: MuragCheckpoint, fields: Mapping[str, FieldType] | None = None) -> StoreSettings:
        """Return the settings of a memory for a network.

        Args:
            checkpoint: the network.
            fields: type of each metadata field to filter by.
        """
        model = checkpoint.model
        return StoreSettings(model.encoder.vector_dim, fingerprint(model), dict(fields or {}))

    def abstain_below(self, threshold: float | None) -> None:
        """Give no answer from now on where no item reaches a score; None: answer always."""
        self.settings = replace(self.settings, threshold=threshold)

    def add(self, sources: Sequence[Source], advance: Callable[[int], object] = lambda _: None) -> None:
        """Encode items and put them into the memory, or replace those with their ids; each batch is one commit.

        Args:
            sources: the items.
            advance: called with the number of items after each batch, for a progress bar.

        Raises:
            FileNotFoundError: a picture is not where it should be.
            UserError: a picture is damaged, or an item has neither text nor picture.
        """
        for batch in batches(sources, self.batch_size):
            self.store.upsert(self.items_of(batch))
            advance(len(batch))

    @torch.no_grad()
    def items_of(self, sources: Sequence[Source]) -> list[Item]:
        """Return sources as items with vectors, not yet in the memory; errors as of `add`."""
        for source in sources:
            if not source.text.strip() and source.image is None:
                raise UserError(f"the item {source.id!r} has neither text nor picture")
        entries = [Entry(each.text, each.image) for each in sources]
        vectors = self.encode.vectors(entries, self.settings.max_item_tokens, is_question=False)
        return [
            Item(
                each.id,
                vector,
                modality_of(each.text, each.image),
                each.text,
                each.image,
                None if each.image is None else source_hash(each.image),
                each.metadata,
            )
            for each, vector in zip(sources, vectors.cpu(), strict=True)
        ]

    def search(self, questions: Sequence[Question], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """Return up to ``k`` items for each question, best first."""
        vectors = [self.vectors(batch) for batch in batches(questions, self.batch_size)]
        return self.store.search(torch.cat(vectors), k, where) if vectors else []

    @torch.no_grad()
    def rank(self, questions: Sequence[Question], candidates: Sequence[Sequence[str]]) -> list[list[Hit]]:
        """Return the candidates of each question that the memory holds, best first, such as a data set gives them."""
        vectors = [vector for batch in batches(questions, self.batch_size) for vector in self.vectors(batch)]
        return [
            sorted(self._scored(vector, ids), key=lambda hit: (-hit.score, hit.item.id))
            for vector, ids in zip(vectors, candidates, strict=True)
        ]

    def ask(self, questions: Sequence[Question], where: Filter | None = None) -> list[Answer]:
        """Return an answer to each question.

        Args:
            questions: the questions.
            where: which items may be found.
        """
        return [answer for batch in batches(questions, self.batch_size) for answer in self._ask(batch, where)]

    def read(self, questions: Sequence[Question], evidence: Sequence[Sequence[str]]) -> list[Answer]:
        """Return an answer to each question from given items, without a search.

        Args:
            questions: the questions.
            evidence: ids of the items for each of them, best first; none for an answer without the memory.
        """
        pairs = batches([*zip(questions, evidence, strict=True)], self.batch_size)
        return [answer for batch in pairs for answer in self._read_given(*zip(*batch, strict=True))]

    @torch.no_grad()
    def _ask(self, questions: Sequence[Question], where: Filter | None) -> list[Answer]:
        timer = Timer()
        with timer.timing("encode"):
            asked = self._encode(questions)

        def vectors_of(further: Sequence[Question]) -> Float[Tensor, "question dim"]:
            with timer.timing("encode"):
                return self.vectors(further)

        with timer.timing("search"):
            number, hops = self.model.config.num_items, self.settings.hops
            vectors = asked.vector.cpu()
            hits = find(self.store, questions, vectors, vectors_of, number, hops, where)
        return self._answer(asked, hits, timer)

    @torch.no_grad()
    def _read_given(self, questions: Sequence[Question], evidence: Sequence[Sequence[str]]) -> list[Answer]:
        timer = Timer()
        with timer.timing("encode"):
            asked = self._encode(questions)
        with timer.timing("fetch"):
            number = self.model.config.num_items
            pairs = zip(asked.vector.cpu(), evidence, strict=True)
            hits = [self._scored(vector, ids[:number]) for vector, ids in pairs]
        return self._answer(asked, hits, timer)

    def _scored(self, vector: Float[Tensor, " dim"], ids: Sequence[str]) -> list[Hit]:
        """Return items of the memory with their scores, in the order of their ids."""
        return [Hit(float(item.vector @ vector), item) for item in self.store.get(ids) if item is not None]

    def _answer(self, asked: Encoded, hits: list[list[Hit]], timer: Timer) -> list[Answer]:
        with timer.timing("fetch"):
            evidence = self._fetch(hits)
        with timer.timing("read"):
            reading = self.model.read(asked, evidence)
            choices = span_choices(hits, self.tokenizer) if self.settings.has_spans else None
            outputs = self.model.answer(reading, self.settings.max_answer_tokens, choices)
            attention, num_patches = self.model.attention(reading, outputs), self.model.encoder.num_patches
            citations = [cite(row, reading, attention, place, num_patches) for place, row in enumerate(hits)]
        seconds = timer.shares(len(hits))
        texts = self.tokenizer.texts(outputs)
        return [self._judged(text, row, seconds) for text, row in zip(texts, citations, strict=True)]

    def _judged(self, text: str, citations: tuple[Citation, ...], seconds: Mapping[str, float]) -> Answer:
        """Return an answer that abstains where the memory has nothing close to the question."""
        best = max((citation.score for citation in citations), default=float("-inf"))
        is_sure = self.settings.threshold is None or best >= self.settings.threshold
        return Answer(text if is_sure else "", citations, is_sure, seconds)

    def _fetch(self, hits: Sequence[Sequence[Hit]]) -> Evidence | None:
        """Return found items as the reader wants them; rows with fewer are filled up."""
        number = max(map(len, hits), default=0)
        if not number:
            return None
        rows = [[*row, *[None] * (number - len(row))] for row in hits]
        items = self.encode.items([_entry(hit) for row in rows for hit in row], self.settings.max_item_tokens)
        scores = torch.tensor([[0.0 if hit is None else hit.score for hit in row] for row in rows])
        is_found = torch.tensor([[hit is not None for hit in row] for row in rows])
        return Evidence(items, scores.to(items.vector), is_found.to(items.vector.device))

    def _encode(self, questions: Sequence[Question]) -> Encoded:
        return self.encode([Entry(each.text, each.image) for each in questions], self.settings.max_question_tokens)

    @torch.no_grad()
    def vectors(self, questions: Sequence[Question]) -> Float[Tensor, "question dim"]:
        """Return the vectors of questions, by which items are found."""
        entries = [Entry(each.text, each.image) for each in questions]
        return self.encode.vectors(entries, self.settings.max_question_tokens, is_question=True).cpu()


def _entry(hit: Hit | None) -> Entry:
    """Return a found item for the encoder; a picture that is gone is left out."""
    if hit is None:
        return Entry("")
    image = hit.item.image
    return Entry(hit.item.text, image if image is not None and picture_file(image).is_file() else None)
