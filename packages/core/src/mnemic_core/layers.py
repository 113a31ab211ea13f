"""Attention and positions that several mechanisms share."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


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
        """Return what each token finds in itself and the tokens before it; padding takes up no position."""
        query, key, value = self.project(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if padding is None:
            position = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
            allowed = None
        else:
            position = ((~padding).cumsum(1) - 1).clamp(min=0)
            itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
            allowed = ((torch.ones_like(itself).tril() & ~padding[:, None]) | itself)[:, None]
        found = F.scaled_dot_product_attention(
            rotate(query, position), rotate(key, position), value, attn_mask=allowed, is_causal=allowed is None
        )
        y: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return y


def masked_softmax(
    logits: Float[Tensor, "*batch query key"], allowed: Bool[Tensor, "*#batch #query key"]
) -> Float[Tensor, "*batch query key"]:
    """Return the softmax over the allowed keys; zeros for a query that has none."""
    # The lowest finite number, not -inf: a query without any key would become NaN. Its weights are cleared after.
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~allowed, lowest).softmax(-1).masked_fill(~allowed, 0)


def rotate(
    x: Float[Tensor, "batch head time head_dim"], position: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch head time head_dim"]:
    """Return queries or keys with their pairs of channels turned by rotary positions (arXiv:2104.09864).

    Args:
        x: an even number of channels per head.
        position: place of each token in its sequence.
    """
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = position[:, None, :, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
