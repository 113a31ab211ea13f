"""The parts of T5: attention without scale and bias, feed-forward networks, and blocks of both."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.layers import join_heads, split_heads
from mnemic_retrieval.t5.config import T5Config

NORM_EPS = 1e-6


class T5Attention(nn.Module):
    """Multi-head attention whose logits are not divided by the root of the width: the initialization does that.

    Args:
        config: sizes.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.dropout
        inner = config.num_heads * config.head_dim
        self.query, self.key, self.value = (nn.Linear(config.dim, inner, bias=False) for _ in range(3))
        self.output = nn.Linear(inner, config.dim, bias=False)
        nn.init.normal_(self.query.weight, std=(config.dim * config.head_dim) ** -0.5)
        for layer in (self.key, self.value):
            nn.init.normal_(layer.weight, std=config.dim**-0.5)
        nn.init.normal_(self.output.weight, std=inner**-0.5)

    def keys_and_values(
        self, x: Float[Tensor, "batch key dim"]
    ) -> tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]:
        """Return the projected keys and values."""
        return split_heads(self.key(x), self.num_heads), split_heads(self.value(x), self.num_heads)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        keys: Float[Tensor, "batch head key head_dim"],
        values: Float[Tensor, "batch head key head_dim"],
        bias: Float[Tensor, "#batch #head #query key"],
    ) -> Float[Tensor, "batch query dim"]:
        """Attend from each token to the keys; ``bias`` is added to the logits, see `masked_bias`."""
        query = split_heads(self.query(x), self.num_heads)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(query, keys, values, bias.to(query.dtype), dropout, scale=1.0)
        merged: Tensor = self.output(join_heads(found))
        return merged

    def weights(
        self,
        x: Float[Tensor, "batch query dim"],
        keys: Float[Tensor, "batch head key head_dim"],
        bias: Float[Tensor, "#batch #head #query key"],
    ) -> Float[Tensor, "batch query key"]:
        """Return the attention weights, the mean over heads."""
        logits = split_heads(self.query(x), self.num_heads) @ keys.mT + bias
        return logits.softmax(-1).mean(1)


class T5FeedForward(nn.Module):
    """Two linear layers with ReLU (1.0), or with a gate by GELU between them (1.1, arXiv 2002.05202).

    Args:
        config: sizes.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.expand, self.contract = (
            nn.Linear(config.dim, config.ffn_dim, bias=False),
            nn.Linear(config.ffn_dim, config.dim, bias=False),
        )
        is_gated = config.activation == "gated_gelu"
        self.gate = nn.Linear(config.dim, config.ffn_dim, bias=False) if is_gated else None
        self.dropout = nn.Dropout(config.dropout)
        for layer in (self.expand, self.gate):
            if layer is not None:
                nn.init.normal_(layer.weight, std=config.dim**-0.5)
        nn.init.normal_(self.contract.weight, std=config.ffn_dim**-0.5)

    def forward(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Apply both layers."""
        if self.gate is None:
            hidden = F.relu(self.expand(x))
        else:
            hidden = F.gelu(self.gate(x), approximate="tanh") * self.expand(x)
        y: Tensor = self.contract(self.dropout(hidden))
        return y


class EncoderBlock(nn.Module):
    """Pre-norm residual block of self-attention and feed-forward network.

    Args:
        config: sizes.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention, self.ffn = T5Attention(config), T5FeedForward(config)
        self.attention_norm, self.ffn_norm = (nn.RMSNorm(config.dim, NORM_EPS) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch token dim"], bias: Float[Tensor, "#batch #head #token token"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the block."""
        y = self.attention_norm(x)
        x = x + self.dropout(self.attention(y, *self.attention.keys_and_values(y), bias))
        z: Tensor = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return z


class DecoderBlock(nn.Module):
    """Pre-norm residual block of self-attention, attention to a source, and feed-forward network.

    Args:
        config: sizes.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.attention, self.source_attention = T5Attention(config), T5Attention(config)
        self.ffn = T5FeedForward(config)
        self.attention_norm, self.source_norm, self.ffn_norm = (nn.RMSNorm(config.dim, NORM_EPS) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        own: tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]],
        bias: Float[Tensor, "#batch #head #token key"],
        source: tuple[Float[Tensor, "batch head frame head_dim"], Float[Tensor, "batch head frame head_dim"]],
        source_bias: Float[Tensor, "#batch #head #token frame"],
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the block.

        Args:
            x: tokens.
            own: `own_keys_and_values` of the tokens that they may see.
            bias: of the attention to them.
            source: keys and values of the source.
            source_bias: of the attention to it.
        """
        x = x + self.dropout(self.attention(self.attention_norm(x), *own, bias))
        x = x + self.dropout(self.source_attention(self.source_norm(x), *source, source_bias))
        y: Tensor = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return y

    def source_weights(
        self,
        x: Float[Tensor, "batch token dim"],
        own: tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]],
        bias: Float[Tensor, "#batch #head #token key"],
        source_keys: Float[Tensor, "batch head frame head_dim"],
        source_bias: Float[Tensor, "#batch #head #token frame"],
    ) -> Float[Tensor, "batch token frame"]:
        """Return how much each token attends to the source, the mean over heads; arguments as above."""
        x = x + self.dropout(self.attention(self.attention_norm(x), *own, bias))
        return self.source_attention.weights(self.source_norm(x), source_keys, source_bias)

    def own_keys_and_values(
        self, x: Float[Tensor, "batch token dim"]
    ) -> tuple[Float[Tensor, "batch head token head_dim"], Float[Tensor, "batch head token head_dim"]]:
        """Return keys and values of tokens before the block, for its self-attention."""
        return self.attention.keys_and_values(self.attention_norm(x))


def masked_bias(
    bias: Float[Tensor, "#batch #head #query key"], allowed: Tensor
) -> Float[Tensor, "batch head query key"]:
    """Return a bias with the lowest number where ``allowed``, of a shape that broadcasts, is False.

    Not infinity: a query that may see nothing would become NaN.
    """
    return bias.masked_fill(~allowed, torch.finfo(bias.dtype).min)
