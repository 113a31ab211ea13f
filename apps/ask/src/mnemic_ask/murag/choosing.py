"""Which items are read for a question in training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_ask.murag.batching import MuragBatch
from mnemic_retrieval.murag import Encoded, Entry, EntryEncoder, Evidence, JointEncoder, MuragSettings, contrastive_loss
from mnemic_retrieval.murag.reader import evidence_of
from mnemic_retrieval.murag.searching import first_number, second_question

_FORCED = 1e4  # above every product of vectors


def choose(
    scores: Float[Tensor, "batch item"],
    is_allowed: Bool[Tensor, "batch item"],
    is_forced: Bool[Tensor, "batch item"],
    number: int,
) -> tuple[Int[Tensor, "batch rank"], Bool[Tensor, "batch rank"]]:
    """Return the rows of the best items of each question by falling score, and which of them exist.

    Args:
        scores: products of vectors.
        is_allowed: False at items that may not be read.
        is_forced: True at items that come before all others into the choice, not into the order.
        number: of items.

    Example:
        >>> scores, no = torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[False, False, False]])
        >>> choose(scores, ~no, torch.tensor([[True, False, False]]), number=2)[0]
        tensor([[1, 0]])
    """
    lowest = torch.finfo(scores.dtype).min
    ranked = (scores + _FORCED * is_forced).masked_fill(~is_allowed, lowest)
    chosen = ranked.topk(min(number, scores.shape[1]), 1).indices
    is_found = is_allowed.gather(1, chosen)
    order = scores.gather(1, chosen).masked_fill(~is_found, lowest).argsort(1, descending=True)
    return chosen.gather(1, order), is_found.gather(1, order)


@dataclass(frozen=True)
class Found:
    """What a search of a batch's items found.

    Attributes:
        rows: of the items of each question, best first of each search.
        scores: products of vectors.
        is_found: False where fewer items were found; what ``rows`` says there does not matter.
        loss: contrastive loss of the search, in nats.
    """

    rows: Int[Tensor, "batch rank"]
    scores: Float[Tensor, "batch rank"]
    is_found: Bool[Tensor, "batch rank"]
    loss: Float[Tensor, ""]

    def evidence(self, items: Encoded) -> Evidence:
        """Return the found items, encoded, for the reader."""
        return evidence_of(items, self.rows, self.scores, self.is_found)


def search_batch(
    encode: EntryEncoder,
    batch: MuragBatch,
    asked: Float[Tensor, "batch dim"],
    items: Float[Tensor, "item dim"],
    settings: MuragSettings,
    is_forced: Bool[Tensor, " batch"],
) -> Found:
    """Return what a search of the batch's items finds, as `find` does in a memory.

    Retrieval itself is not differentiated: scores that are read have no gradient.

    Args:
        encode: encoder of questions.
        batch: questions and items.
        asked: vectors of the questions.
        items: vectors of the items.
        settings: number of searches.
        is_forced: at which questions the items that answer are found in any case.
    """
    number, temperature = encode.model.config.num_items, encode.model.temperature
    is_allowed, (is_first, is_last) = batch.is_allowed, _searched(batch.grades, settings.hops)
    loss = contrastive_loss(asked, items, batch.grades > 0, temperature, is_allowed)
    scores = (asked @ items.mT).detach()
    first = first_number(number, settings.hops)
    chosen, is_found = choose(scores, is_allowed, is_first & is_forced[:, None], first)
    found = scores.gather(1, chosen)
    if settings.hops > 1 and number > 1:
        further = _second(batch, chosen[:, 0].tolist())
        vectors = encode.vectors(further, settings.max_question_tokens, is_question=True)
        is_allowed = is_allowed.scatter(1, chosen, value=False)
        loss = loss + contrastive_loss(vectors, items, is_last & is_allowed, temperature, is_allowed)
        scores = (vectors @ items.mT).detach()
        more, is_more = choose(scores, is_allowed, is_last & is_forced[:, None], number - first)
        chosen, found = torch.cat([chosen, more], 1), torch.cat([found, scores.gather(1, more)], 1)
        is_found = torch.cat([is_found, is_more], 1)
    return Found(chosen, found, is_found, loss)


def found_before(batch: MuragBatch, asked: Float[Tensor, "batch dim"], items: Float[Tensor, "item dim"]) -> Found:
    """Return what was found before training, in its order; its loss is 0."""
    assert batch.found is not None
    chosen, is_found = batch.found.clamp(min=0), batch.found >= 0
    return Found(chosen, (asked @ items.mT).detach().gather(1, chosen), is_found, asked.sum() * 0)


def hide_pictures(encoder: JointEncoder, asked: Encoded, rows: Bool[Tensor, " batch"]) -> Encoded:
    """Return questions that are encoded without their patches where ``rows`` is True; vectors stay."""
    embedded = asked.embedded
    is_patch = ~embedded.is_word
    is_patch[:, 0] = False  # the pool
    hidden = replace(embedded, padding=embedded.padding | (is_patch & rows[:, None]))
    return replace(asked, embedded=hidden, hidden=encoder.run(hidden))


def _searched(
    grades: Int[Tensor, "batch item"], hops: int
) -> tuple[Bool[Tensor, "batch item"], Bool[Tensor, "batch item"]]:
    """Return which items the first search is to find, and which the last: those with the highest grade.

    Where all have the same grade, and where there is one search, it is all of them.
    """
    is_last = (grades > 0) & (grades == grades.amax(1, keepdim=True))
    if hops == 1:
        return grades > 0, is_last
    is_step = (grades > 0) & ~is_last
    return torch.where(is_step.any(1, keepdim=True), is_step, is_last), is_last


def _second(batch: MuragBatch, best: Sequence[int]) -> list[Entry]:
    return [
        Entry(second_question(question.text, batch.items[row].text))
        for question, row in zip(batch.questions, best, strict=True)
    ]
