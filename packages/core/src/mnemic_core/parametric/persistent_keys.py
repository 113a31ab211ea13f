"""Persistent memory: learned keys and values in addition to those of the tokens."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import check_at_least
from mnemic_core.layers import MultiHeadAttention, split_heads
from mnemic_core.mechanism import Mechanism
from mnemic_core.parametric.param_groups import memory_param_groups


class PersistentKeyValues(nn.Module):
    """Learned keys and values that are appended to those of an attention.

    The memory of memory-augmented self-attention (MemMC-MAE, arXiv:2203.11725; Meshed-Memory Transformer,
    arXiv:1912.08226; persistent memory, arXiv:1907.01470). With ``m`` slots and heads of width ``d_h``::

        K' = [K ; M_K]    V' = [V ; M_V]                                plain
        K' = [K ; sqrt(d_h) M_K]    V' = [V ; sqrt(m) M_V]              scaled

    No projection, bias, position or mask applies to the slots, and they have no queries. The scaled form computes the
    same but learns faster, since optimizer steps have a larger effect; :meth:`folded` converts it.

    Args:
        num_heads: heads of the attention; head ``h`` owns channels ``h * head_dim`` to ``(h + 1) * head_dim``.
        head_dim: width of a head.
        num_slots: learned pairs; 0 for plain attention.
        scaled: use the scaled form, for training.

    Example:
        >>> memory = PersistentKeyValues(num_heads=2, head_dim=4, num_slots=3)
        >>> key, value = memory(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))
        >>> key.shape
        torch.Size([1, 2, 8, 4])
    """

    def __init__(self, num_heads: int, head_dim: int, num_slots: int = 40, *, scaled: bool = True) -> None:
        super().__init__()
        check_at_least(1, num_heads=num_heads, head_dim=head_dim)
        check_at_least(0, num_slots=num_slots)
        self.num_heads, self.head_dim, self.num_slots, self.scaled = num_heads, head_dim, num_slots, scaled
        key_scale, value_scale = self._scales()
        # Both forms start with standard deviations 1/sqrt(head_dim) and 1/sqrt(num_slots) after the factors.
        width = num_heads * head_dim
        self.keys = nn.Parameter(torch.randn(num_slots, width) / math.sqrt(head_dim) / key_scale)
        self.values = nn.Parameter(torch.randn(num_slots, width) / math.sqrt(max(num_slots, 1)) / value_scale)

    def forward(
        self, key: Float[Tensor, "batch head time head_dim"], value: Float[Tensor, "batch head time head_dim"]
    ) -> tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]:
        """Append the learned keys and values."""
        key_scale, value_scale = self._scales()
        return self._append(key, self.keys * key_scale), self._append(value, self.values * value_scale)

    def folded(self) -> "PersistentKeyValues":
        """Return the equivalent plain form."""
        plain = PersistentKeyValues(self.num_heads, self.head_dim, self.num_slots, scaled=False)
        plain.to(self.keys.device, self.keys.dtype)
        key_scale, value_scale = self._scales()
        with torch.no_grad():
            plain.keys.copy_(self.keys * key_scale)
            plain.values.copy_(self.values * value_scale)
        return plain

    def _scales(self) -> tuple[float, float]:
        return (math.sqrt(self.head_dim), math.sqrt(max(self.num_slots, 1))) if self.scaled else (1.0, 1.0)

    def _append(
        self, tokens: Float[Tensor, "batch head time head_dim"], slots: Float[Tensor, "slot dim"]
    ) -> Float[Tensor, "batch head key head_dim"]:
        heads = split_heads(slots.to(tokens.dtype), self.num_heads)  # head slot head_dim
        return torch.cat([tokens, heads.expand(tokens.shape[0], -1, -1, -1)], dim=2)


class PersistentAttention(nn.Module):
    """Self-attention over the tokens and over learned slots: ``softmax(q [K ; M_K]^T / sqrt(d_h)) [V ; M_V]``.

    Memory-augmented self-attention as in :class:`PersistentKeyValues`; without slots it equals plain attention.

    Args:
        dim: width of tokens.
        num_heads: attention heads; must divide ``dim``.
        num_slots: learned pairs of key and value.
        scaled: use the scaled form, for training.

    Example:
        >>> attention = PersistentAttention(dim=8, num_heads=2, num_slots=3)
        >>> x = torch.randn(1, 5, 8)
        >>> attention(x).shape, attention.weights(x).shape
        (torch.Size([1, 5, 8]), torch.Size([1, 2, 5, 8]))
    """

    def __init__(self, dim: int, *, num_heads: int = 8, num_slots: int = 40, scaled: bool = True) -> None:
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        self.attention = MultiHeadAttention(dim, num_heads)
        self.memory = PersistentKeyValues(num_heads, dim // num_heads, num_slots, scaled=scaled)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "batch time dim"]:
        """Attend.

        Args:
            x: the tokens.
            padding: True at tokens to ignore; outputs there have no meaning.
            is_causal: let tokens see themselves and those before them only; all see the slots.
        """
        output: Tensor = self.attention(x, *self._keys_and_values(x), self._allowed(x, padding, is_causal))
        return output

    def weights(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "batch head time key"]:
        """Return the attention of each token to all tokens and then to all slots."""
        query, (key, _) = self.attention.queries(x), self._keys_and_values(x)
        logits = query @ key.mT / math.sqrt(query.shape[-1])
        allowed = self._allowed(x, padding, is_causal)
        if allowed is not None:
            # Not -inf, with which a query that may see nothing would become NaN.
            logits = logits.masked_fill(~allowed[:, None], torch.finfo(logits.dtype).min)
        return logits.softmax(-1)

    def memory_mass(
        self, x: Float[Tensor, "batch time dim"], *, padding: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch head time"]:
        """Return the share of attention on the slots, 0 to 1; near 0 everywhere they are unused."""
        return self.weights(x, padding=padding)[..., x.shape[1] :].sum(-1)

    def param_groups(self, lr_scale: float = 1.0, *, lr: float | None = None) -> list[dict[str, Any]]:
        """Return the groups of :func:`memory_param_groups`; the scaled form needs no larger learning rate."""
        return memory_param_groups(self, [self.memory.keys, self.memory.values], lr_scale, lr)

    def _keys_and_values(
        self, x: Float[Tensor, "batch time dim"]
    ) -> tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]:
        keys, values = self.memory(*self.attention.keys_and_values(x))
        return keys, values

    def _allowed(
        self, x: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None, is_causal: bool
    ) -> Bool[Tensor, "#batch #time key"] | None:
        """Return True where a query may see a key, or None if all may see all."""
        if padding is None and not is_causal:
            return None
        time = x.shape[1]
        allowed = torch.ones(1, time, time, device=x.device, dtype=torch.bool)
        if is_causal:
            allowed = allowed.tril()
        if padding is not None:
            allowed = allowed & ~padding[:, None]
        return F.pad(allowed, (0, self.memory.num_slots), value=True)


PERSISTENT = Mechanism(
    name="persistent",
    cls=PersistentAttention,
    place="layer",
    paper="MemMC-MAE, memory-augmented self-attention",
    arxiv="2203.11725",
    objective=("knowledge integration",),
    representation="parameter-encoded",
    integration=("attention fusion",),
    read="attention over tokens and learned slots",
    write="optimizer",
    forget="none",
    capacity="`num_slots` pairs",
    cost="O(T (T + K) d)",
    small={"num_heads": 2, "num_slots": 3},
)
