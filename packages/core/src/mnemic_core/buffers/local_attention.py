"""Distances between queries and keys of local attention, and a learned bias for them."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import UserError, check_choice

CountsFrom = Literal["query", "window"]


@dataclass(frozen=True)
class DistanceBuckets:
    """Assignment of distances to entries of a bias table, exact for short ones and logarithmic for long ones.

    Args:
        num_buckets: entries of the table, the first half for one distance each.
        max_distance: distance from which on all share the last entry.
        counts_from: ``"query"`` measures distances from the query, ``"window"`` as if the segment started where the
            carried window does: a quirk of the lucidrains code, for parity.
    """

    num_buckets: int = 32
    max_distance: int = 128
    counts_from: CountsFrom = "query"

    def __post_init__(self) -> None:
        """Check the sizes that the formula needs."""
        if self.num_buckets < 2 or self.max_distance <= self.num_buckets // 2:
            raise UserError(
                "num_buckets must be at least 2 and max_distance above half of it, "
                f"got num_buckets={self.num_buckets}, max_distance={self.max_distance}"
            )
        check_choice(CountsFrom, counts_from=self.counts_from)


T5_BUCKETS = DistanceBuckets()


class RelativeBias(nn.Module):
    """A learned bias of attention logits for each head and bucket of distances.

    Raffel et al. 2020 (T5, arXiv:1910.10683, section 2.1), in its causal form. With ``half = num_buckets // 2``, the
    bucket of distance ``n`` is ``n`` while ``n < half``, and from there on
    ``half + floor(log(n / half) / log(max_distance / half) * (num_buckets - half))``, at most the last one.

    Args:
        num_heads: attention heads.
        buckets: assignment of distances to entries.

    Example:
        >>> bias = RelativeBias(num_heads=1, buckets=DistanceBuckets(num_buckets=4, max_distance=8))
        >>> bias.bucket(torch.tensor([0, 1, 2, 3, 4, 8, 99]))
        tensor([0, 1, 2, 2, 3, 3, 3])
    """

    def __init__(self, num_heads: int, buckets: DistanceBuckets) -> None:
        super().__init__()
        self.buckets = buckets
        self.table = nn.Embedding(buckets.num_buckets, num_heads)

    def forward(self, distance: Int[Tensor, "batch query key"]) -> Float[Tensor, "batch head query key"]:
        """Return the bias of every head; keys after their query have distance 0."""
        bias: Tensor = self.table(self.bucket(distance))
        return bias.permute(0, 3, 1, 2)

    def bucket(self, distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the entry of each distance."""
        half, last = self.buckets.num_buckets // 2, self.buckets.num_buckets - 1
        distance = distance.clamp(min=0)
        # Clamped to half: the logarithm is negative below and undefined at 0.
        octaves = (distance.clamp(min=half).float() / half).log() / math.log(self.buckets.max_distance / half)
        far = half + (octaves * (self.buckets.num_buckets - half)).long()
        return torch.where(distance < half, distance, far.clamp(max=last))


def local_distance(
    window: int, time: int, padding: Bool[Tensor, "batch time"] | None, device: torch.device
) -> Int[Tensor, "rows time key"]:
    """Return how many tokens each key is behind each query, not counting padding; negative for keys ahead of it.

    Keys are the ``window`` latest tokens of earlier segments, oldest first, and then the segment. Without padding there
    is one row for all.
    """
    kept = torch.ones(1, time, dtype=torch.long, device=device) if padding is None else (~padding).long()
    position = kept.cumsum(1) - 1
    before = torch.arange(-window, 0, device=device).expand(len(position), -1)
    return position[:, :, None] - torch.cat([before, position], dim=1)[:, None]


def newest_slots(ring: RingBuffer, window: int) -> Int[Tensor, "batch window"]:
    """Return the slots of the latest ``window`` items, unused ones first and the newest last."""
    offset = torch.arange(-window, 0, device=ring.cursor.device)
    return (ring.cursor[:, None] + offset) % ring.capacity


def missing_keys(
    count: Int[Tensor, " batch"], window: int, time: int, padding: Bool[Tensor, "batch time"] | None
) -> Bool[Tensor, "batch key"]:
    """Return True at keys of :func:`local_distance` that are not yet written or padding."""
    empty = torch.arange(window, 0, -1, device=count.device) > count[:, None]
    return torch.cat([empty, empty.new_zeros(len(empty), time) if padding is None else padding], dim=1)
