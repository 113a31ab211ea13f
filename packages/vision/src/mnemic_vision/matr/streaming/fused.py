"""Products of few rows with large matrices: several linear layers of one input at once, in blocks of outputs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.layers import FeedForward, join_heads, split_heads
from mnemic_vision.matr.layers import Attention, DecoderLayer, EncoderLayer

BLOCK = 256  # outputs
LARGE = 1 << 18  # weights of a matrix from which on blocks are worth it


class FusedLinear:
    """Linear layers of the same input; the output has theirs side by side.

    Large matrices on a CPU are stored in blocks of outputs. The matrix library transposes and packs a matrix for each
    product, which takes as long as the product itself where there are only 20 rows; it does not in a batch of blocks,
    which is 1.3 to 1.7 times as fast.

    Args:
        layers: their weights are copied.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.weight = torch.cat([layer.weight for layer in layers])
        self.bias = torch.cat([layer.bias for layer in layers])
        self.blocks: Tensor | None = None
        if self.weight.device.type == "cpu" and self.weight.numel() >= LARGE and not len(self.weight) % BLOCK:
            self.blocks = self.weight.unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()  # block input output
            del self.weight

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs of all layers."""
        return self.without_bias(x) + self.bias

    def without_bias(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch outputs"]:
        """Return the outputs of all layers without their biases, as they belong to a position."""
        if self.blocks is None:
            return F.linear(x, self.weight)
        rows = x.reshape(1, -1, x.shape[-1]).expand(len(self.blocks), -1, -1)
        product = torch.bmm(rows, self.blocks)  # block row output
        return product.transpose(0, 1).reshape(*x.shape[:-1], -1)


class FusedSelfAttention:
    """Self-attention among tokens at fixed positions; query, key and value are one product.

    The projections are linear, so that those of token and position are added: ``W (x + p) = W x + W p``.

    Args:
        attention: its weights are copied.
        position: of the tokens.
    """

    def __init__(self, attention: Attention, position: Float[Tensor, "token dim"]) -> None:
        self.num_heads = attention.num_heads
        self.project = FusedLinear([attention.query, attention.key, attention.value])
        self._output = FusedLinear([attention.output])
        located = self.project.without_bias(position)
        self._position = torch.cat([located[:, : -position.shape[1]], torch.zeros_like(position)], dim=1)

    def __call__(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Return what the tokens find."""
        return self.attend(self.project(x))

    def attend(self, projected: Float[Tensor, "batch token three_dims"]) -> Float[Tensor, "batch token dim"]:
        """Return what tokens find, given their projections without positions."""
        parts = (projected + self._position).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.num_heads) for part in parts)
        return self._output(join_heads(F.scaled_dot_product_attention(query, key, value)))


class FusedFeedForward:
    """The second half of a layer: what its attention found and the feed-forward block, each added and normalized.

    Args:
        layer: its weights are copied.
        norm: normalization after the attention.
    """

    def __init__(self, layer: EncoderLayer | DecoderLayer, norm: nn.LayerNorm) -> None:
        ffn: FeedForward = layer.ffn
        self._expand, self._contract = FusedLinear([ffn.expand]), FusedLinear([ffn.contract])
        self._activation, self._norms = ffn.activation, (norm, layer.ffn_norm)

    def __call__(
        self, x: Float[Tensor, "batch token dim"], found: Float[Tensor, "batch token dim"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the layer."""
        x = self._norms[0](x + found)
        y: Tensor = self._norms[1](x + self._contract(self._activation(self._expand(x))))
        return y
