"""GEMFormer: remember the tokens of a document whose predictions are most certain."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.mechanism import Mechanism

Rule = Literal["low", "percentile", "highest"]

LEAST_PROBABILITY = 1e-8  # of the official code, which sums p ln max(p, least)
PAPER_THRESHOLDS = {"low": 0.3, "percentile": 5.0}


@torch.no_grad()
def normalized_entropy(logits: Float[Tensor, "*position vocabulary"]) -> Float[Tensor, "*position"]:
    """Return the entropy of each prediction relative to a uniform one, 0 (certain) to 1.

    ``H = -sum_v p_v ln(max(p_v, 1e-8)) / ln V``, in float32 at least, for a vocabulary of at least two words.

    Example:
        >>> normalized_entropy(torch.tensor([[0.0, 0.0, 0.0], [0.0, 999.0, 0.0]])).tolist()
        [1.0, 0.0]
    """
    if logits.shape[-1] < 2:
        raise UserError(f"entropy needs a vocabulary of at least 2 words, got {logits.shape[-1]}")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_probs = logits.log_softmax(-1)
    surprise = -log_probs.clamp(min=math.log(LEAST_PROBABILITY))
    return (log_probs.exp() * surprise).sum(-1) / math.log(logits.shape[-1])


@torch.no_grad()
def select_positions(
    entropy: Float[Tensor, "batch time"],
    candidates: Bool[Tensor, "batch time"],
    *,
    rule: Rule = "low",
    threshold: float | None = None,
    limit: int = 200,
    padding: Bool[Tensor, "batch time"] | None = None,
) -> Bool[Tensor, "batch time"]:
    """Return True at the chosen tokens of each document; see :func:`select_certain_tokens` for the arguments.

    Example:
        >>> entropy = torch.tensor([[0.5, 0.1, 0.2, 0.1]])
        >>> select_positions(entropy, entropy < 1, limit=2).tolist()
        [[False, True, True, False]]
    """
    threshold = _checked_threshold(rule, threshold, limit)
    # NaN compares as False, but sorting would put it first.
    eligible = candidates & ~entropy.isnan()
    if padding is not None:
        eligible = eligible & ~padding
    if rule == "highest":
        order = entropy.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
        return eligible & (order.argsort(dim=1) < limit)
    if rule == "percentile" and entropy.shape[1]:
        # Of all entropies of the document, not only of candidates. The official code uses the percentile of the first
        # document for all.
        known = entropy if padding is None else entropy.masked_fill(padding, torch.nan)
        eligible = eligible & (entropy < known.nanquantile(threshold / 100, dim=1, keepdim=True))
    else:
        eligible = eligible & (entropy < threshold)
    return eligible & (eligible.cumsum(1) <= limit)


def select_certain_tokens(
    logits: Float[Tensor, "batch time vocabulary"],
    ids: Int[Tensor, "batch time"],
    candidates: Bool[Tensor, "batch time"],
    *,
    rule: Rule = "low",
    threshold: float | None = None,
    limit: int = 200,
    padding: Bool[Tensor, "batch time"] | None = None,
) -> list[Int[Tensor, " token"]]:
    """Return the tokens of each document to put before all its segments, in document order; waits for the device.

    Global memory of GEMFormer (Sagirova and Burtsev, EMNLP 2023, arXiv:2311.18151), section 3: by the uncertainty of
    their predictions (:func:`normalized_entropy`) the rule keeps of the candidates

    - ``"low"``: the first ``limit`` below the threshold;
    - ``"percentile"``: the same with a percentile of the document's entropies as threshold;
    - ``"highest"``: the ``limit`` most uncertain ones, for comparison; of equal ones the earlier.

    A second pass then reads ``[question ; memory ; segment]``. The selection has no gradient.

    Args:
        logits: of the language model, for every position of the document.
        ids: the tokens at these positions.
        candidates: True where a token may be chosen: in the paper not separators, punctuation and, except with
            ``"highest"``, stop words.
        rule: which candidates to keep.
        threshold: ``"low"``: an entropy, 0.3 by default; ``"percentile"``: 0 to 100, 5 by default.
        limit: largest number of tokens of a document.
        padding: True at positions outside the document.

    Raises:
        UserError: if rule, threshold and limit do not fit together.

    Example:
        >>> logits = torch.tensor([[[9.0, 0.0], [0.0, 0.0], [0.0, 9.0]]])
        >>> ids = torch.tensor([[5, 6, 7]])
        >>> select_certain_tokens(logits, ids, ids > 0)
        [tensor([5, 7])]
    """
    chosen = select_positions(
        normalized_entropy(logits), candidates, rule=rule, threshold=threshold, limit=limit, padding=padding
    )
    return [row[is_chosen] for row, is_chosen in zip(ids, chosen, strict=True)]


CERTAIN_TOKENS = Mechanism(
    name="certain_tokens",
    cls=select_certain_tokens,
    place="selector",
    paper="Uncertainty Guided Global Memory Improves Multi-Hop Question Answering (EMNLP 2023)",
    arxiv="2311.18151",
    objective=("context extension", "reasoning"),
    representation="explicit",
    integration=("attention fusion",),
    read="put in front of every segment",
    write="tokens chosen by the entropy of their prediction",
    forget="rebuilt with every reading of the document",
    capacity="`limit` token ids",
    cost="O(T V)",
)


def _checked_threshold(rule: str, threshold: float | None, limit: int) -> float:
    check_choice(Rule, rule=rule)
    check_at_least(1, limit=limit)
    if rule == "highest":
        if threshold is not None:
            raise UserError(f"the rule 'highest' keeps the limit and has no threshold, got {threshold}; leave it out")
        return math.inf
    if threshold is None:
        return PAPER_THRESHOLDS[rule]
    largest = 1 if rule == "low" else 100
    if not 0 <= threshold <= largest:
        raise UserError(f"threshold of the rule {rule!r} must be between 0 and {largest}, got {threshold}")
    return threshold
