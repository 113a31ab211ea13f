"""Losses of EMAT beside that of the answer (arXiv 2210.16773, section 3)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_retrieval.emat.model import Emat
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted


def autoencoding_loss(
    model: Emat, slots: Float[Tensor, "item slot dim"], labels: Int[Tensor, "item token"]
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy, in nats per token, of rebuilding texts from the slots of their keys or values."""
    return sequence_loss(model.rebuild(slots, shifted(labels, model.config.t5.pad_id)), labels)


def matching_loss(
    queries: Float[Tensor, "batch search"],
    keys: Float[Tensor, "key search"],
    targets: Int[Tensor, " batch"],
    allowed: Bool[Tensor, "batch key"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy, in nats, of finding each question's key among those of the batch.

    Args:
        queries: vectors of questions.
        keys: search vectors, the positives of all questions and negatives.
        targets: place of each question's positive, -100 for a question without one; 0 is returned if none has one.
        allowed: False at keys that are no negatives of a question, such as positives of others with its answer.
    """
    # Scores decide between close neighbors, for which half precision is too coarse.
    scores = queries.float() @ keys.float().mT
    if allowed is not None:
        own = F.one_hot(targets.clamp(min=0), len(keys)).bool()
        scores = scores.masked_fill(~(allowed | own), torch.finfo(scores.dtype).min)
    total = F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)
