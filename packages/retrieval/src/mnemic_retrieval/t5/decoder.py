"""The decoder of T5, over complete outputs or token by token."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core import MemoryState
from mnemic_retrieval.t5.blocks import NORM_EPS, DecoderBlock, masked_bias
from mnemic_retrieval.t5.config import T5Config
from mnemic_retrieval.t5.relative_bias import RelativeBias


@dataclass(frozen=True)
class DecoderSource(MemoryState):
    """Keys and values of what the decoder attends to, computed once for all tokens of an output.

    Attributes:
        keys: of the source's vectors, for each block.
        values: likewise.
        allowed: True at vectors to attend to.
    """

    keys: Float[Tensor, "batch layer head frame head_dim"]
    values: Float[Tensor, "batch layer head frame head_dim"]
    allowed: Bool[Tensor, "batch frame"]


@dataclass(frozen=True)
class T5DecoderState(MemoryState):
    """An output that is being written.

    Attributes:
        keys: of the tokens so far, for each block; zeros in unused capacity.
        values: likewise.
        length: tokens so far.
        source: what it attends to.
    """

    keys: Float[Tensor, "batch layer head token head_dim"]
    values: Float[Tensor, "batch layer head token head_dim"]
    length: Int[Tensor, " batch"]
    source: DecoderSource


class T5Decoder(nn.Module):
    """Decodes embedded tokens, each of which sees those before it and the whole source.

    Args:
        config: sizes.

    Example:
        >>> config = T5Config(vocab_size=9, dim=8, num_heads=2, head_dim=4, ffn_dim=16, decoder_layers=2)
        >>> decoder, source = T5Decoder(config), torch.randn(2, 5, 8)
        >>> decoder(torch.randn(2, 3, 8), source, torch.zeros(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 3, 8])
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        self.relative_bias = RelativeBias(config.num_buckets, config.max_distance, config.num_heads, is_causal=True)
        self.norm = nn.RMSNorm(config.dim, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.relative_bias.table.weight, std=config.dim**-0.5)

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        source: Float[Tensor, "batch frame dim"],
        source_padding: Bool[Tensor, "batch frame"],
    ) -> Float[Tensor, "batch token dim"]:
        """Return the decoded tokens.

        Args:
            x: embedded tokens; padding is behind the others, where none of them sees it.
            source: such as an encoder's output.
            source_padding: True at what to ignore of it.
        """
        given, place = self.attend_to(source, source_padding), torch.arange(x.shape[1], device=x.device)
        bias = masked_bias(self.relative_bias(place, place)[None], place <= place[:, None])
        x, source_bias = self.dropout(x), self._source_bias(given, x.dtype)
        for layer, block in enumerate(self._blocks()):
            x = block(x, block.own_keys_and_values(x), bias, _layer(given, layer), source_bias)
        return self._finish(x)

    def source_weights(
        self,
        x: Float[Tensor, "batch token dim"],
        source: Float[Tensor, "batch frame dim"],
        source_padding: Bool[Tensor, "batch frame"],
    ) -> Float[Tensor, "batch token frame"]:
        """Return how much each token attends to the source in the last block; arguments as of `forward`."""
        given, place = self.attend_to(source, source_padding), torch.arange(x.shape[1], device=x.device)
        bias = masked_bias(self.relative_bias(place, place)[None], place <= place[:, None])
        x, source_bias = self.dropout(x), self._source_bias(given, x.dtype)
        *blocks, last = self._blocks()
        for layer, block in enumerate(blocks):
            x = block(x, block.own_keys_and_values(x), bias, _layer(given, layer), source_bias)
        return last.source_weights(x, last.own_keys_and_values(x), bias, given.keys[:, -1], source_bias)

    def attend_to(
        self, source: Float[Tensor, "batch frame dim"], padding: Bool[Tensor, "batch frame"]
    ) -> DecoderSource:
        """Return keys and values of a source."""
        source = source.masked_fill(padding[..., None], 0)  # a weight of 0 does not hide a NaN
        pairs = [block.source_attention.keys_and_values(source) for block in self._blocks()]
        return DecoderSource(
            torch.stack([key for key, _ in pairs], 1), torch.stack([value for _, value in pairs], 1), ~padding
        )

    def init_state(self, source: DecoderSource, max_tokens: int) -> T5DecoderState:
        """Return the state before the first token, with capacity for ``max_tokens``."""
        batch, layers, heads, _, head_dim = source.keys.shape
        empty = source.keys.new_zeros(batch, layers, heads, max_tokens, head_dim)
        length = torch.zeros(batch, dtype=torch.long, device=empty.device)
        return T5DecoderState(empty, empty, length, source)

    def step(
        self, x: Float[Tensor, "batch dim"], state: T5DecoderState
    ) -> tuple[Float[Tensor, "batch dim"], T5DecoderState]:
        """Return the decoded token of each row, and the state that includes it; all rows have the same length."""
        place = torch.arange(state.keys.shape[3], device=x.device)
        bias = masked_bias(self.relative_bias(state.length[:1], place)[None], place <= state.length[0])
        keys, values = state.keys.clone(), state.values.clone()  # the given state must not change
        y, source_bias = self.dropout(x[:, None]), self._source_bias(state.source, x.dtype)
        for layer, block in enumerate(self._blocks()):
            key, value = block.own_keys_and_values(y)
            keys[:, layer].index_copy_(2, state.length[:1], key)
            values[:, layer].index_copy_(2, state.length[:1], value)
            own = keys[:, layer], values[:, layer]
            y = block(y, own, bias, _layer(state.source, layer), source_bias)
        return self._finish(y)[:, 0], replace(state, keys=keys, values=values, length=state.length + 1)

    def _source_bias(self, source: DecoderSource, dtype: torch.dtype) -> Float[Tensor, "batch 1 1 frame"]:
        allowed = source.allowed[:, None, None]
        return masked_bias(torch.zeros_like(allowed, dtype=dtype), allowed)

    def _finish(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        y: Tensor = self.dropout(self.norm(x))
        return y

    def _blocks(self) -> list[DecoderBlock]:
        return [cast(DecoderBlock, block) for block in self.blocks]


def _layer(
    source: DecoderSource, layer: int
) -> tuple[Float[Tensor, "batch head frame head_dim"], Float[Tensor, "batch head frame head_dim"]]:
    return source.keys[:, layer], source.values[:, layer]
