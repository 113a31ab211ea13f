"""Self-attention with relative positions."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.relative_attention import relative_shift, relative_sinusoids
from mnemic_core.errors import UserError
from mnemic_core.layers import join_heads, split_heads


class KeyValue(NamedTuple):
    """Keys and values of frames, cached for the next frames of a stream."""

    keys: Float[Tensor, "batch head frame head_dim"]
    values: Float[Tensor, "batch head frame head_dim"]


def relative_positions(
    queries: int, keys: int, dim: int, device: torch.device | None = None
) -> Float[Tensor, "distance dim"]:
    """Return sinusoids, first all sines, of every distance from a query back to a key; queries are the last keys.

    The distances are ``keys - 1`` (the last query to the first key) down to ``-queries``, which no pair has but
    :func:`~mnemic_core.buffers.relative_attention.relative_shift` needs.
    """
    return relative_sinusoids(torch.arange(keys - 1, -queries - 1, -1, device=device, dtype=torch.float32), dim)


class RelativeSelfAttention(nn.Module):
    """Self-attention with relative positions in both directions.

    Transformer-XL (Dai et al. 2019, arXiv:1901.02860, section 3.3) extended to future frames, as in the
    Conformer (Gulati et al. 2020, arXiv:2005.08100, section 2.1); in each head, for query ``i`` and key ``j``::

        A_ij = ((q_i + u) k_j + (q_i + v) p_(i - j)) / sqrt(head_dim),    p = sinusoids W_p

    Args:
        dim: width of frames.
        num_heads: attention heads; must divide ``dim``.
        dropout: of attention weights.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads or dim % 2:
            raise UserError(f"dim must be even and a multiple of num_heads, got dim={dim}, num_heads={num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))
        self.position = nn.Linear(dim, dim, bias=False)
        self.content_bias = nn.Parameter(torch.empty(num_heads, dim // num_heads))
        self.position_bias = nn.Parameter(torch.empty(num_heads, dim // num_heads))
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "distance dim"],
        allowed: Bool[Tensor, "#batch #query key"],
        earlier: KeyValue | None = None,
    ) -> tuple[Float[Tensor, "batch query dim"], KeyValue]:
        """Return the attention output, and keys and values of all frames.

        Args:
            x: the queries.
            positions: from :func:`relative_positions` for these numbers of queries and keys.
            allowed: True where a query may attend to a key; the output of a query without any is meaningless.
            earlier: keys and values of the frames before ``x``.
        """
        query, key, value = (split_heads(project(x), self.num_heads) for project in (self.query, self.key, self.value))
        if earlier is not None:
            key, value = torch.cat([earlier.keys, key], 2), torch.cat([earlier.values, value], 2)
        content, position = (bias.to(query.dtype)[:, None] for bias in (self.content_bias, self.position_bias))
        distances = split_heads(self.position(positions.to(x.dtype)), self.num_heads)  # head distance head_dim
        scores = relative_shift((query + position) @ distances.mT)[..., : key.shape[2]] * query.shape[-1] ** -0.5
        # The lowest finite number halved, not -inf: a query without any key would become NaN.
        scores = scores.masked_fill(~allowed[:, None], torch.finfo(scores.dtype).min / 2)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(query + content, key, value, attn_mask=scores, dropout_p=dropout)
        return self.output(join_heads(found)), KeyValue(key, value)
