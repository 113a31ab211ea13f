"""Transformer layers of MATR: post-norm, with positions added to queries and keys in every layer."""

from collections.abc import Sequence
from typing import TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.layers import FeedForward, MultiHeadAttention, split_heads

KeysValues: TypeAlias = tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]


class Attention(MultiHeadAttention):
    """Multi-head attention whose keys have positions and whose values have none."""

    def located_keys_and_values(
        self, x: Float[Tensor, "batch key dim"], position: Float[Tensor, "*#batch key dim"]
    ) -> KeysValues:
        """Return the projected keys of ``x + position`` and values of ``x``."""
        return split_heads(self.key(x + position), self.num_heads), split_heads(self.value(x), self.num_heads)


class _Block(nn.Module):
    """Residual branches with dropout and a normalization of the sum."""

    def __init__(self, dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.ffn = FeedForward(dim, ffn_dim, F.gelu, dropout)
        self.ffn_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def add(
        self, x: Float[Tensor, "batch token dim"], branch: Float[Tensor, "batch token dim"], norm: nn.LayerNorm
    ) -> Float[Tensor, "batch token dim"]:
        """Return the normalized sum of tokens and a branch."""
        total: Tensor = norm(x + self.dropout(branch))
        return total


class EncoderLayer(_Block):
    """Self-attention and feed-forward.

    Args:
        dim: width of tokens.
        num_heads: attention heads.
        ffn_dim: hidden width of the feed-forward block.
        dropout: of branches.
        attention_dropout: of attention weights.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__(dim, ffn_dim, dropout)
        self.attention = Attention(dim, num_heads, dropout=attention_dropout)
        self.attention_norm = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch token dim"], position: Float[Tensor, "token dim"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the layer."""
        found = self.attention(x + position, *self.attention.located_keys_and_values(x, position))
        return self.finish(x, found)

    def finish(
        self, x: Float[Tensor, "batch token dim"], found: Float[Tensor, "batch token dim"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the layer, given the output of its attention."""
        x = self.add(x, found, self.attention_norm)
        return self.add(x, self.ffn(x), self.ffn_norm)


class DecoderLayer(_Block):
    """Self-attention of queries, attention to keys, and feed-forward; arguments as `EncoderLayer`."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__(dim, ffn_dim, dropout)
        self.self_attention = Attention(dim, num_heads, dropout=attention_dropout)
        self.self_attention_norm = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, num_heads, dropout=attention_dropout)
        self.cross_attention_norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        position: Float[Tensor, "query dim"],
        keys_values: KeysValues,
        allowed: Bool[Tensor, "#batch #query key"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the queries after the layer; ``allowed`` is True at keys that they may see, None: at all."""
        x = self.attend_to_queries(x, position)
        return self.finish(x, self.cross_attention(x + position, *keys_values, allowed))

    def attend_to_queries(
        self, x: Float[Tensor, "batch query dim"], position: Float[Tensor, "query dim"]
    ) -> Float[Tensor, "batch query dim"]:
        """Return the queries after the self-attention, the first part of the layer."""
        found = self.self_attention(x + position, *self.self_attention.located_keys_and_values(x, position))
        return self.add(x, found, self.self_attention_norm)

    def finish(
        self, x: Float[Tensor, "batch query dim"], found: Float[Tensor, "batch query dim"]
    ) -> Float[Tensor, "batch query dim"]:
        """Return the queries after the layer, given the output of the attention to keys."""
        x = self.add(x, found, self.cross_attention_norm)
        return self.add(x, self.ffn(x), self.ffn_norm)


class SegmentEncoder(nn.Module):
    """Encoder layers over the frames of a window and the flag token, and a final normalization."""

    def __init__(self, layers: Sequence[EncoderLayer], dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch token dim"], position: Float[Tensor, "token dim"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the encoded tokens."""
        for layer in self.layers:
            x = layer(x, position)
        encoded: Tensor = self.norm(x)
        return encoded

    @property
    def encoder_layers(self) -> list[EncoderLayer]:
        """The layers, with their type."""
        return [layer for layer in self.layers if isinstance(layer, EncoderLayer)]


class Decoder(nn.Module):
    """Decoder layers and a final normalization."""

    def __init__(self, layers: Sequence[DecoderLayer], dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)

    def keys_and_values(
        self, tokens: Float[Tensor, "batch key dim"], position: Float[Tensor, "*#batch key dim"]
    ) -> list[KeysValues]:
        """Return the keys and values of each layer."""
        return [layer.cross_attention.located_keys_and_values(tokens, position) for layer in self.decoder_layers]

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        position: Float[Tensor, "query dim"],
        keys_values: Sequence[KeysValues],
        allowed: Bool[Tensor, "#batch #query key"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the decoded queries; ``keys_values`` are those of each layer."""
        for layer, pair in zip(self.layers, keys_values, strict=True):
            x = layer(x, position, pair, allowed)
        decoded: Tensor = self.norm(x)
        return decoded

    @property
    def decoder_layers(self) -> list[DecoderLayer]:
        """The layers, with their type."""
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
