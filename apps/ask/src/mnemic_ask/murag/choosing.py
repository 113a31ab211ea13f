"""Which items are read for a question in training."""

from collections.abc import Sequence
from dataclasses import replace

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


def search_batch(
    encode: EntryEncoder,
    batch: MuragBatch,
    asked: Encoded,
    items: Encoded,
    settings: MuragSettings,
    is_forced: Bool[Tensor, " batch"],
) -> tuple[Evidence, Float[Tensor, ""]]:
    """Return what a search of the batch's items finds, as `find` does in a memory, and the contrastive loss of it.

    Retrieval itself is not differentiated: scores that are read have no gradient.

    Args:
        encode: encoder of questions.
        batch: questions and items.
        asked: encoded questions.
        items: encoded items.
        settings: number of searches.
        is_forced: at which questions the items that answer are found in any case.
    """
    number, temperature = encode.model.config.num_items, encode.model.temperature
    is_allowed, is_positive = batch.is_allowed, batch.is_positive
    loss = contrastive_loss(asked.vector, items.vector, is_positive, temperature, is_allowed)
    scores = (asked.vector @ items.vector.mT).detach()
    first = first_number(number, settings.hops)
    chosen, is_found = choose(scores, is_allowed, is_positive & is_forced[:, None], first)
    found = scores.gather(1, chosen)
    if settings.hops > 1 and number > 1:
        vectors = encode.vectors(_second(batch, chosen[:, 0].tolist()), settings.max_question_tokens)
        is_allowed = is_allowed.scatter(1, chosen, value=False)
        loss = loss + contrastive_loss(vectors, items.vector, is_positive & is_allowed, temperature, is_allowed)
        scores = (vectors @ items.vector.mT).detach()
        more, is_more = choose(scores, is_allowed, is_positive & is_forced[:, None], number - first)
        chosen, found = torch.cat([chosen, more], 1), torch.cat([found, scores.gather(1, more)], 1)
        is_found = torch.cat([is_found, is_more], 1)
    return evidence_of(items, chosen, found, is_found), loss


def found_before(batch: MuragBatch, asked: Encoded, items: Encoded) -> Evidence:
    """Return what was found before training, in its order."""
    assert batch.found is not None
    chosen, is_found = batch.found.clamp(min=0), batch.found >= 0
    scores = (asked.vector @ items.vector.mT).detach().gather(1, chosen)
    return evidence_of(items, chosen, scores, is_found)


def hide_pictures(encoder: JointEncoder, asked: Encoded, rows: Bool[Tensor, " batch"]) -> Encoded:
    """Return questions that are encoded without their patches where ``rows`` is True; vectors stay."""
    embedded = asked.embedded
    is_patch = ~embedded.is_word
    is_patch[:, 0] = False  # the pool
    hidden = replace(embedded, padding=embedded.padding | (is_patch & rows[:, None]))
    return replace(asked, embedded=hidden, hidden=encoder.run(hidden))


def _second(batch: MuragBatch, best: Sequence[int]) -> list[Entry]:
    return [
        Entry(second_question(question.text, batch.items[row].text))
        for question, row in zip(batch.questions, best, strict=True)
    ]
