"""What questions look up in training: which of the step's pairs enter the network, and which it is to tell apart."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_retrieval.emat.mining import DrawnPairs
from mnemic_retrieval.t5.model import IGNORED

NOTHING = -1
"""Fills the memory of a question that has fewer pairs."""


@dataclass(frozen=True)
class Lookup:
    """Places in the list of a step's pairs.

    Attributes:
        memory: what enters for each question, best first; -1 is nothing.
        candidates: whose keys are compared with the questions; the first ``batch`` are those that belong to them.
        targets: place of each question's own among the candidates; -100 without one.
        allowed: False at candidates that are no negatives of a question.
    """

    memory: Int[Tensor, "batch k"]
    candidates: Int[Tensor, " candidate"]
    targets: Int[Tensor, " batch"]
    allowed: Bool[Tensor, "batch candidate"]


def look_up_neighbors(
    scores: Float[Tensor, "batch pair"],
    rows: Int[Tensor, " pair"],
    k: int,
    self_prob: float,
    neighbors: Int[Tensor, "batch neighbor"] | None = None,
) -> Lookup:
    """Return the lookup of pre-training: neighbors of each question's pair, at times after the pair itself.

    Without the pair the network must combine pairs that are similar but different.

    Args:
        scores: of all pairs of the step, of which the first ``batch`` belong to the questions.
        rows: number of each pair in the memory.
        k: pairs that enter.
        self_prob: how often a question's own pair is the first.
        neighbors: places of neighbors found before, best first; None: all other pairs, by their scores.
    """
    own = torch.arange(len(scores), device=scores.device)
    if neighbors is None:
        others = scores[:, : len(own)].masked_fill(rows[: len(own)] == rows[: len(own), None], -torch.inf)
        best, neighbors = others.topk(min(k, len(own)))
        neighbors = neighbors.masked_fill(best == -torch.inf, NOTHING)
    has_self = torch.rand(len(own), device=scores.device) < self_prob
    after_self = torch.cat([own[:, None], neighbors], 1)[:, :k]
    without = torch.cat([neighbors, neighbors.new_full((len(own), 1), NOTHING)], 1)[:, : after_self.shape[1]]
    memory = torch.where(has_self[:, None], after_self, without)
    is_same = rows == rows[: len(own), None]
    return Lookup(memory, torch.arange(len(rows), device=own.device), own, ~is_same)


def look_up_mined(scores: Float[Tensor, "batch pair"], drawn: DrawnPairs, k: int) -> Lookup:
    """Return the lookup of fine-tuning: the best of each question's positives and negatives.

    The positive that is to be found is drawn by the scores.

    Args:
        scores: of all questions' pairs, one question's after the other's.
        drawn: these pairs.
        k: pairs that enter.
    """
    batch, number = drawn.rows.shape
    places = torch.arange(batch * number, device=scores.device).view(batch, number)
    own = scores.detach().gather(1, places).masked_fill(~drawn.valid, -torch.inf)
    best, order = own.topk(min(k, number))
    memory = places.gather(1, order).masked_fill(best == -torch.inf, NOTHING)
    has_positive = drawn.valid[:, : drawn.num_positives].any(1)
    # Places that are not used must have no chance at all; in the released code they have nearly the same as others.
    chances = own[:, : drawn.num_positives].masked_fill(~has_positive[:, None], 0).softmax(1)
    positives = places.gather(1, torch.multinomial(chances, 1))[:, 0]
    candidates = torch.cat([positives, places[:, drawn.num_positives :].flatten()])
    usable = torch.cat([has_positive, drawn.valid[:, drawn.num_positives :].flatten()])
    targets = torch.arange(batch, device=scores.device).masked_fill(~has_positive, IGNORED)
    return Lookup(memory, candidates, targets, usable.expand(batch, -1))
