"""What the decoder reads: the question and the items that were found for it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core import MemoryState
from mnemic_retrieval.murag.config import MuragConfig
from mnemic_retrieval.murag.encoder import Embedded, Encoded, JointEncoder, join


@dataclass(frozen=True)
class Evidence(MemoryState):
    """Items that were found for questions, best first.

    Attributes:
        items: encoded, consecutive for each question.
        scores: products of their vectors and the question's.
        is_found: False where fewer items were found.
    """

    items: Encoded
    scores: Float[Tensor, "batch item"]
    is_found: Bool[Tensor, "batch item"]


@dataclass(frozen=True)
class Reading(MemoryState):
    """What the decoder attends to: first the question alone, then the items.

    Attributes:
        hidden: encoded places.
        padding: True at places to ignore.
        item: 0 for the question, then the number of the item that a place belongs to.
        place_in_item: place within the item as it was encoded alone; -1 for places of the question.
        ids: which word it is; 0 elsewhere.
    """

    hidden: Float[Tensor, "batch place dim"]
    padding: Bool[Tensor, "batch place"]
    item: Int[Tensor, "batch place"]
    place_in_item: Int[Tensor, "batch place"]
    ids: Int[Tensor, "batch place"]


class Reader(nn.Module):
    """Brings questions and items together in one of three forms, see `ReaderForm`.

    What an item became is marked by its rank and its score, since the best one is most often right.

    Args:
        config: sizes and form.
    """

    def __init__(self, config: MuragConfig) -> None:
        super().__init__()
        self.form = config.reader
        self.ranks = nn.Parameter(0.02 * torch.randn(config.num_items, config.t5.dim))
        self.score = nn.Parameter(torch.zeros(config.t5.dim))

    def forward(self, encoder: JointEncoder, question: Encoded, evidence: Evidence | None = None) -> Reading:
        """Return what the decoder attends to.

        Args:
            encoder: that made question and items.
            question: encoded questions.
            evidence: items for them, at most as many as the config says; None: there is no memory.
        """
        if evidence is None or not evidence.scores.shape[1]:
            return _of_question(question)
        batch, number = evidence.scores.shape
        if self.form == "concat":
            hidden, padding, ids = self._one_sequence(encoder, question, evidence)
        else:
            parts = self._each(encoder, question, evidence)
            hidden, padding, ids = (part.unflatten(0, (batch, number)) for part in parts)
        marks = self.ranks[:number] + evidence.scores[..., None] * self.score
        hidden = (hidden + marks[:, :, None]).flatten(1, 2)
        padding = (padding | ~evidence.is_found[:, :, None]).flatten(1, 2)
        first, length = _of_question(question), padding.shape[1] // number
        item = 1 + torch.arange(number, device=hidden.device).repeat_interleave(length)
        place = torch.arange(length, device=hidden.device).repeat(number)
        items = Reading(hidden, padding, item.expand(padding.shape), place.expand(padding.shape), ids.flatten(1, 2))
        names = ("hidden", "padding", "item", "place_in_item", "ids")
        return Reading(*(torch.cat([getattr(part, name) for part in (first, items)], 1) for name in names))

    def _each(
        self, encoder: JointEncoder, question: Encoded, evidence: Evidence
    ) -> tuple[Float[Tensor, "item place dim"], Bool[Tensor, "item place"], Int[Tensor, "item place"]]:
        """Return items that are encoded with their question, or alone: hidden places, padding and words."""
        items = evidence.items
        if self.form == "fid_cached":
            return items.hidden, items.padding, items.embedded.ids
        number = evidence.scores.shape[1]
        pairs = join([items.embedded, question.embedded.map(lambda part: part.repeat_interleave(number, 0))])
        return encoder.run(pairs), pairs.padding, pairs.ids

    def _one_sequence(
        self, encoder: JointEncoder, question: Encoded, evidence: Evidence
    ) -> tuple[
        Float[Tensor, "batch item place dim"], Bool[Tensor, "batch item place"], Int[Tensor, "batch item place"]
    ]:
        """Return items that are encoded in one sequence with the question: as above."""
        batch, number = evidence.scores.shape
        given = evidence.items.embedded
        parts = (given.tokens, given.padding, given.is_word, given.ids)
        tokens, padding, is_word, ids = (part.unflatten(0, (batch, number)) for part in parts)
        padding = padding | ~evidence.is_found[:, :, None]
        items = Embedded(*(part.flatten(1, 2) for part in (tokens, padding, is_word, ids)))
        hidden = encoder.run(join([items, question.embedded]))
        length = padding.shape[2]
        return hidden[:, : number * length].unflatten(1, (number, length)), padding, ids


def _of_question(question: Encoded) -> Reading:
    item = torch.zeros_like(question.padding, dtype=torch.long)
    return Reading(question.hidden, question.padding, item, item - 1, question.embedded.ids)


def evidence_of(
    items: Encoded,
    chosen: Int[Tensor, "batch item"],
    scores: Float[Tensor, "batch item"],
    is_found: Bool[Tensor, "batch item"],
) -> Evidence:
    """Return the chosen rows of encoded items as evidence.

    Args:
        items: of the whole batch.
        chosen: rows of them for each question, best first; any where ``is_found`` is False.
        scores: of these.
        is_found: False where fewer items were found.
    """
    return Evidence(items.index_select(chosen.flatten()), scores.masked_fill(~is_found, 0), is_found)
