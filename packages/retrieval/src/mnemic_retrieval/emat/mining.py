"""Which pairs of a large memory a question is trained with (arXiv 2210.16773, section 3; released code)."""

from dataclasses import dataclass, replace
from math import inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_retrieval.emat.model import Emat
from mnemic_retrieval.emat.pair_tokens import NO_ANSWER, PairTokens

_KEYS = 2**18  # that are compared at a time
_QUESTIONS = 1024


@dataclass(frozen=True)
class MiningConfig:
    """How pairs are found and drawn; the defaults are those of the released code.

    Attributes:
        local_size: pairs that are kept for each question, best first.
        positive_top: of these, in which right answers count as positives.
        negative_top: likewise, in which wrong answers count as negatives.
        num_positives: positives of a question from which one is drawn.
        num_negatives: negatives of a question in a step.
        every_n_epochs: how often the memory is encoded and searched again; every third epoch with all of PAQ.
        every_n_steps: likewise in optimizer steps, in place of epochs.
    """

    local_size: int = 384
    positive_top: int = 128
    negative_top: int = 200
    num_positives: int = 5
    num_negatives: int = 32
    every_n_epochs: int = 1
    every_n_steps: int | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "local_size", "num_positives", "num_negatives", "every_n_epochs", "every_n_steps")
        check_range(self, 1, self.local_size, "positive_top", "negative_top")


@dataclass(frozen=True)
class DrawnPairs:
    """Pairs for each question of a step: places for positives, then for negatives.

    Attributes:
        rows: numbers of the pairs; 0 in places that are not used.
        valid: True at places that are used.
        num_positives: places for positives.
    """

    rows: Int[Tensor, "batch pair"]
    valid: Bool[Tensor, "batch pair"]
    num_positives: int

    def to(self, device: torch.device | str) -> "DrawnPairs":
        """Return the pairs on a device."""
        return replace(self, rows=self.rows.to(device), valid=self.valid.to(device))


@torch.no_grad()
def encode_vectors(model: Emat, pairs: PairTokens, batch_size: int = 512) -> Float[Tensor, "pair search"]:
    """Return the search vectors of all pairs on the CPU, in half precision, by a model in evaluation mode."""
    device, found = model.tokens.embedding.weight.device, []
    for rows in torch.arange(len(pairs)).split(batch_size):
        keys = model.encode_keys(pairs.questions(rows).to(device))
        found.append(model.search_vectors(keys).half().cpu())
    return torch.cat(found)


def nearest_pairs(
    queries: Float[Tensor, "question search"], vectors: Float[Tensor, "pair search"], k: int
) -> Int[Tensor, "question k"]:
    """Return the numbers of the ``k`` pairs with the largest inner products, best first; fewer where there are fewer.

    Computed on the device of the queries, to which vectors are moved block by block.
    """
    blocks = []
    for part in queries.split(_QUESTIONS):
        scores, rows = part.new_empty(len(part), 0), torch.empty(len(part), 0, dtype=torch.long, device=part.device)
        for start in range(0, len(vectors), _KEYS):
            block = vectors[start : start + _KEYS].to(part)
            best, place = (part @ block.mT).topk(min(k, len(block)))
            scores, rows = torch.cat([scores, best], 1), torch.cat([rows, place + start], 1)
            scores, order = scores.topk(min(k, scores.shape[1]))
            rows = rows.gather(1, order)
        blocks.append(rows)
    return torch.cat(blocks)


def draw_pairs(
    local: Int[Tensor, "batch local"],
    local_answers: Int[Tensor, "batch local"],
    right_answers: Int[Tensor, "batch answer"],
    config: MiningConfig,
) -> DrawnPairs:
    """Draw positives and negatives of each question at random, from torch's generator.

    Args:
        local: pairs of each question, best first.
        local_answers: numbers of their answers.
        right_answers: numbers of the question's answers, filled with -1.
        config: how many, and from where.
    """
    right = right_answers.masked_fill(right_answers == NO_ANSWER, NO_ANSWER - 1)
    is_right = (local_answers[..., None] == right[:, None]).any(-1)
    place = torch.arange(local.shape[1], device=local.device)
    chances = torch.rand(local.shape, device=local.device)
    parts = [
        (chances.masked_fill(~candidates, -1)).topk(min(number, local.shape[1]))
        for candidates, number in (
            (is_right & (place < config.positive_top), config.num_positives),
            (~is_right & (place < config.negative_top), config.num_negatives),
        )
    ]
    chance, chosen = (torch.cat([part[index] for part in parts], 1) for index in range(2))
    valid = chance >= 0
    return DrawnPairs(local.gather(1, chosen).masked_fill(~valid, 0), valid, parts[0].indices.shape[1])
