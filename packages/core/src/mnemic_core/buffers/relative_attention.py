"""Attention over memory and segment with the relative positions of Transformer-XL."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least, check_heads
from mnemic_core.layers import join_heads, split_heads

LONGEST_PERIOD = 10_000.0


def relative_sinusoids(distance: Float[Tensor, " distance"], dim: int) -> Float[Tensor, "distance dim"]:
    """Return ``[sin(d f_0) ... sin(d f_n), cos(d f_0) ... cos(d f_n)]`` for each distance, ``f_i = 10000^(-2i/dim)``.

    ``dim`` is even.
    """
    exponent = torch.arange(0, dim, 2, device=distance.device, dtype=distance.dtype) / dim
    # In place: on a CPU allocating memory costs as much as the arithmetic.
    encoded = distance[:, None] * (LONGEST_PERIOD**-exponent).repeat(2)
    sines, cosines = encoded.chunk(2, dim=-1)
    sines.sin_()
    cosines.cos_()
    return encoded


def relative_shift(scores: Shaped[Tensor, "*batch query key_and_one"]) -> Shaped[Tensor, "*batch query key"]:
    """Convert scores by distance into scores by key, without a copy.

    Queries are the last of the keys: query ``i`` and key ``j`` are ``i + key - query - j`` tokens apart.

    Args:
        scores: for each query the scores of distances ``key - 1`` down to 0, and one unused column.

    Returns:
        The score of each key, undefined for keys after the query.

    Example:
        >>> by_distance = torch.tensor([[2, 1, 0, -1]]).expand(2, -1)
        >>> relative_shift(by_distance).tril(1)
        tensor([[1, 0, 0],
                [2, 1, 0]])
    """
    query, key = scores.shape[-2], scores.shape[-1] - 1
    # Column n of query i belongs to key j = n - (query - 1) + i, so the score of (i, j) is at offset
    # i * (key + 1) + n = i * key + j + query - 1: rows of length key after the first query - 1 numbers.
    by_key: Tensor = scores.flatten(-2)[..., query - 1 : query - 1 + query * key].unflatten(-1, (query, key))
    return by_key


class RelativeAttention(nn.Module):
    """Causal attention of a segment over memory and itself with the relative positions of Transformer-XL.

    Dai et al. (ACL 2019, arXiv:1901.02860), section 3.3; with ``H~ = [memory, segment]`` and for each head::

        q = H Wq    k = H~ Wk    v = H~ Wv    r_n = R_n Wr
        A_ij = ((q_i + u) k_j + (q_i + w) r_(i-j)) / sqrt(head_dim)
        output = softmax(A) v Wo

    ``R`` are sinusoids of the distance ``i - j``, which includes tokens of the memory. The biases ``u`` and ``w`` are
    arguments, since all layers of a stack may share them.

    Args:
        dim: width of tokens, an even number.
        num_heads: attention heads.
        head_dim: width of a head; ``dim / num_heads`` if None.
        clamp: largest distance, for evaluation with a longer memory than in training; None for no limit.
        window: tokens that a query sees, itself included; None for all.
        pre_norm: apply layer normalization to memory and segment.

    Example:
        >>> attention = RelativeAttention(dim=8, num_heads=2)
        >>> memory, count = torch.ones(1, 3, 8), torch.tensor([2])
        >>> attention(torch.ones(1, 5, 8), memory, count, biases=torch.zeros(2, 2, 4)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        clamp: int | None = None,
        window: int | None = None,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"dim must be even, half sines and half cosines, got {dim}")
        if head_dim is None:
            check_heads(dim, num_heads)
        check_at_least(1, num_heads=num_heads)
        check_at_least(1, "use None for no limit", head_dim=head_dim, clamp=clamp, window=window)
        self.dim, self.num_heads, self.clamp, self.window = dim, num_heads, clamp, window
        self.head_dim = dim // num_heads if head_dim is None else head_dim
        inner = num_heads * self.head_dim
        self.norm = nn.LayerNorm(dim) if pre_norm else nn.Identity()
        self.query = nn.Linear(dim, inner, bias=False)
        self.key_value = nn.Linear(dim, 2 * inner, bias=False)
        self.position = nn.Linear(dim, inner, bias=False)
        self.output = nn.Linear(inner, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        memory: Float[Tensor, "batch slot dim"],
        count: Int[Tensor, " batch"],
        biases: Float[Tensor, "2 head head_dim"],
    ) -> Float[Tensor, "batch time dim"]:
        """Attend from each token of the segment to memory and segment.

        Args:
            x: the segment, at least one token.
            memory: the tokens before it, oldest first.
            count: slots of each row in use, the last ones; the others are masked.
            biases: ``u`` of contents and ``w`` of distances.
        """
        time = x.shape[1]
        tokens = self.norm(torch.cat([memory.to(x.dtype), x], dim=1))
        query = split_heads(self.query(tokens[:, -time:]), self.num_heads)
        key, value = (split_heads(part, self.num_heads) for part in self.key_value(tokens).chunk(2, dim=-1))
        content_bias, position_bias = biases.to(query.dtype)[:, :, None]
        scaled = (query + position_bias) * self.head_dim**-0.5
        by_distance = torch.einsum("bhqd,hkd->bhqk", scaled, self._positions(tokens.shape[1], x))
        # The distance term is an additive mask, so that a fused kernel does the rest. A copy, because GPU kernels need
        # an alignment that the shifted view lacks.
        scores = torch.where(self._allowed(count, memory.shape[1], time), relative_shift(by_distance), -torch.inf)
        attended = F.scaled_dot_product_attention(query + content_bias, key, value, attn_mask=scores)
        output: Tensor = self.output(join_heads(attended))
        return output

    def _positions(self, keys: int, like: Float[Tensor, "*shape"]) -> Float[Tensor, "head distance_and_one head_dim"]:
        """Return the projected sinusoids, largest distance first, and a row for the unused column of the shift."""
        longest = keys - 1 if self.clamp is None else min(keys - 1, self.clamp)
        # At least in single precision: 1599 and 1600 are equal in bfloat16.
        exact = torch.promote_types(like.dtype, torch.float32)
        if exact == like.dtype:
            far, near = self._mirrored(longest, like)
        else:  # products are cheap here, and differences of rounded ones too inexact
            distance = torch.arange(longest, -1, -1, device=like.device, dtype=exact)
            far, near = self.position(relative_sinusoids(distance, self.dim).to(like.dtype)).split([1, longest])
        beyond = far[:1].expand(keys - 1 - longest, -1)
        return split_heads(torch.cat([beyond, far, near, far[-1:]]), self.num_heads)

    def _mirrored(
        self, longest: int, like: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "far inner"], Float[Tensor, "near inner"]]:
        """Return the projections of the larger and of the smaller half of all distances, largest first.

        With ``c`` in the middle, the sinusoids of ``c + t`` and ``c - t`` are sum and difference of the same products
        of those of ``c`` and ``t``. Moving those of ``c`` into the weights halves the arithmetic.
        """
        offset = longest / 2 - torch.arange(longest // 2 + 1, device=like.device, dtype=like.dtype)
        sines, cosines = relative_sinusoids(offset, self.dim).chunk(2, dim=-1)
        of_sines, of_cosines = self.position.weight.chunk(2, dim=-1)
        even = F.linear(cosines, sines[0] * of_sines + cosines[0] * of_cosines)
        odd = F.linear(sines, cosines[0] * of_sines - sines[0] * of_cosines)
        return even + odd, (even - odd).flip(0)[1 - longest % 2 :]

    def _allowed(self, count: Int[Tensor, " batch"], capacity: int, time: int) -> Bool[Tensor, "batch 1 query key"]:
        """Return True where a query may see a key; every query sees itself."""
        index = torch.arange(capacity + time, device=count.device)
        distance = index[capacity:, None] - index  # query key
        allowed = distance >= 0
        if self.window is not None:
            allowed = allowed & (distance < self.window)
        return allowed & (index >= capacity - count[:, None])[:, None, None]
