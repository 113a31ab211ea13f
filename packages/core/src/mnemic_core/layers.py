"""Attention, feed-forward networks and positions that several models share."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import check_heads


class MultiHeadAttention(nn.Module):
    """Multi-head attention (arXiv:1706.03762, section 3.2.2) that takes keys and values already projected.

    Args:
        dim: width of queries, keys and values.
        num_heads: attention heads; must divide ``dim``.
        dropout: of the attention weights.
        bias: whether the four projections add a learned bias.

    Example:
        >>> attention, x = MultiHeadAttention(dim=8, num_heads=2), torch.randn(1, 5, 8)
        >>> attention(x, *attention.keys_and_values(x), is_causal=True).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads, self.dropout = num_heads, dropout
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim, bias) for _ in range(4))

    def queries(self, x: Float[Tensor, "batch query dim"]) -> Float[Tensor, "batch head query head_dim"]:
        """Return the projected queries."""
        return split_heads(self.query(x), self.num_heads)

    def keys_and_values(
        self, x: Float[Tensor, "batch key dim"]
    ) -> tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]:
        """Return the projected keys and values."""
        return split_heads(self.key(x), self.num_heads), split_heads(self.value(x), self.num_heads)

    def merge(self, found: Float[Tensor, "batch head query head_dim"]) -> Float[Tensor, "batch query dim"]:
        """Return the output projection of all heads."""
        merged: Tensor = self.output(join_heads(found))
        return merged

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        keys: Float[Tensor, "batch head key head_dim"],
        values: Float[Tensor, "batch head key head_dim"],
        allowed: Bool[Tensor, "#batch #query key"] | None = None,
        *,
        is_causal: bool = False,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend from each token to the keys.

        Args:
            x: tokens of the queries.
            keys: from :meth:`keys_and_values`.
            values: likewise.
            allowed: True where a query may see a key; None: everywhere.
            is_causal: let queries see keys up to their own position only; not together with ``allowed``.
        """
        found = F.scaled_dot_product_attention(
            self.queries(x),
            keys,
            values,
            attn_mask=None if allowed is None else allowed[:, None],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )
        return self.merge(found)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        dim: width of tokens.
        hidden_dim: width between the layers.
        activation: such as ``torch.nn.functional.gelu``.
        dropout: of the hidden units.
    """

    def __init__(self, dim: int, hidden_dim: int, activation: Callable[[Tensor], Tensor], dropout: float = 0.0) -> None:
        super().__init__()
        self.expand, self.contract = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Apply both layers."""
        y: Tensor = self.contract(self.dropout(self.activation(self.expand(x))))
        return y


def build_mlp(widths: Sequence[int], *, norm: type[nn.Module] | None = None, bias: bool = True) -> nn.Sequential:
    """Return linear layers, each with a normalization if given, and ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.ReLU(), nn.Linear(fan_in, fan_out, bias), *([] if norm is None else [norm(fan_out)])]
    return nn.Sequential(*layers[1:])


class CausalAttention(nn.Module):
    """Causal self-attention within a segment, with rotary positions (arXiv:2104.09864).

    Args:
        dim: width of tokens.
        num_heads: attention heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.project = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Attend from each token to itself and those before it; padding takes up no position."""
        query, key, value = (split_heads(part, self.num_heads) for part in self.project(x).chunk(3, dim=-1))
        if padding is None:
            position = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
            allowed = None
        else:
            position, allowed = token_positions(padding), causal_mask(padding)[:, None]
        found = F.scaled_dot_product_attention(
            rotate(query, position), rotate(key, position), value, attn_mask=allowed, is_causal=allowed is None
        )
        y: Tensor = self.output(join_heads(found))
        return y


def split_heads(x: Float[Tensor, "*batch time dim"], num_heads: int) -> Float[Tensor, "*batch head time head_dim"]:
    """Split vectors into one part for each attention head."""
    heads: Tensor = x.unflatten(-1, (num_heads, -1))
    return heads.transpose(-3, -2)


def join_heads(x: Float[Tensor, "*batch head time head_dim"]) -> Float[Tensor, "*batch time dim"]:
    """Undo :func:`split_heads`."""
    return x.transpose(-3, -2).flatten(-2)


def attention_weights(
    query: Float[Tensor, "*batch query dim"],
    keys: Float[Tensor, "*batch key dim"],
    allowed: Bool[Tensor, "*#batch #query key"],
) -> Float[Tensor, "*batch query key"]:
    """Return the weights of scaled dot-product attention; zeros for a query without allowed keys."""
    logits = query @ keys.mT / math.sqrt(query.shape[-1])
    # The lowest finite number, not -inf, with which a query without keys would become NaN; its weights are cleared.
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~allowed, lowest).softmax(-1).masked_fill(~allowed, 0)


def rotate(
    x: Float[Tensor, "batch head time head_dim"], position: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch head time head_dim"]:
    """Rotate pairs of channels of queries or keys by their positions (arXiv:2104.09864); ``head_dim`` is even."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = position[:, None, :, None] * frequency  # batch 1 time half
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def or_no_padding(
    padding: Bool[Tensor, "batch time"] | None, x: Shaped[Tensor, "batch time *item"]
) -> Bool[Tensor, "batch time"]:
    """Return the mask, or one that is False everywhere if there is none."""
    return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device) if padding is None else padding


def token_positions(padding: Bool[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
    """Return the position of each token among those of its row; padding takes up none."""
    return ((~padding).cumsum(1) - 1).clamp(min=0)


def tokens_first(padding: Bool[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
    """Return the indices of the tokens of each row in their order, then those of its padding."""
    return padding.long().argsort(dim=1, stable=True)


def causal_mask(padding: Bool[Tensor, "batch time"]) -> Bool[Tensor, "batch query key"]:
    """Return True where a query may see a key: at itself and at tokens before it that are not padding."""
    itself = torch.eye(padding.shape[1], dtype=torch.bool, device=padding.device)
    # Padding sees itself too: the softmax of a row that may see nothing is NaN.
    return (torch.ones_like(itself).tril() & ~padding[:, None]) | itself
