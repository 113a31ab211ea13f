"""Relative positions of T5: a learned number for each head and bucket of distances."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class RelativeBias(nn.Module):
    """What is added to attention logits by the distance of key and query (arXiv 1910.10683, section 2.1).

    Half of the buckets are for one distance each, the others for ranges that grow logarithmically up to
    ``max_distance``; in an encoder either direction has half of all buckets.

    Args:
        num_buckets: rows of the table.
        max_distance: distance from which all share the last bucket.
        num_heads: attention heads.
        is_causal: whether keys lie before their queries, as in a decoder.

    Example:
        >>> RelativeBias(8, 16, num_heads=2)(torch.arange(3), torch.arange(5)).shape
        torch.Size([2, 3, 5])
    """

    def __init__(self, num_buckets: int, max_distance: int, num_heads: int, *, is_causal: bool = False) -> None:
        super().__init__()
        self.max_distance, self.is_causal = max_distance, is_causal
        self.table = nn.Embedding(num_buckets, num_heads)

    def forward(
        self, query_position: Int[Tensor, "*batch query"], key_position: Int[Tensor, "*batch key"]
    ) -> Float[Tensor, "*batch head query key"]:
        """Return the bias of every pair."""
        distance = key_position[..., None, :] - query_position[..., None]
        bias: Tensor = self.table(self._bucket(distance)).movedim(-1, -3)
        return bias

    def _bucket(self, distance: Int[Tensor, "*batch query key"]) -> Int[Tensor, "*batch query key"]:
        number, first = self.table.num_embeddings, torch.zeros_like(distance)
        if self.is_causal:
            distance = (-distance).clamp(min=0)
        else:
            number //= 2
            first, distance = (distance > 0).long() * number, distance.abs()
        exact = number // 2
        ratio = (distance.clamp(min=exact).float() / exact).log() / math.log(self.max_distance / exact)
        far = (exact + (ratio * (number - exact)).long()).clamp(max=number - 1)
        return first + torch.where(distance < exact, distance, far)
