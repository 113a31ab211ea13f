"""The contrastive loss by which questions find their items."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError


def contrastive_loss(
    questions: Float[Tensor, "batch dim"],
    items: Float[Tensor, "item dim"],
    is_positive: Bool[Tensor, "batch item"],
    temperature: float | Float[Tensor, ""] = 0.05,
    is_allowed: Bool[Tensor, "batch item"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood, in nats, of an item that answers, among all items of the batch.

    ::

        L = -1/B sum_i log( mean_{p in P_i} exp(q_i m_p / t) / sum_m exp(q_i m / t) )

    With one positive each it is the loss of MuRAG (arXiv 2210.02928); several are averaged inside the logarithm, so
    that one that is found is enough.

    Args:
        questions: retrieval vectors of questions.
        items: of the batch's memory: positives of all questions, and hard negatives.
        is_positive: True where an item answers a question; questions without one are left out, without any it is 0.
        temperature: by which products are divided.
        is_allowed: False at items that do not count for a question, such as those with its own picture; None: all do.

    Raises:
        UserError: the mask has another shape.

    Example:
        >>> float(contrastive_loss(torch.eye(2), torch.eye(2), torch.eye(2).bool(), temperature=0.05)) < 1e-6
        True
    """
    if is_positive.shape != (len(questions), len(items)):
        raise UserError(f"is_positive must be {(len(questions), len(items))}, got {tuple(is_positive.shape)}")
    # Scores decide between close neighbors, for which half precision is too coarse.
    scores = questions.float() @ items.float().mT / temperature
    lowest = torch.finfo(scores.dtype).min
    if is_allowed is not None:
        scores, is_positive = scores.masked_fill(~is_allowed, lowest), is_positive & is_allowed
    has_positive = is_positive.any(1)
    found = scores.masked_fill(~is_positive, lowest).logsumexp(1) - is_positive.sum(1).clamp(min=1).log()
    losses = (scores.logsumexp(1) - found).masked_fill(~has_positive, 0)
    return losses.sum() / has_positive.sum().clamp(min=1)
