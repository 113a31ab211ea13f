"""A decoder for the queries of one frame, with two forms of attention that suit few queries."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.layers import join_heads, split_heads
from mnemic_vision.matr.layers import Attention, Decoder, DecoderLayer
from mnemic_vision.matr.streaming.fused import FusedFeedForward, FusedLinear, FusedSelfAttention

Find: TypeAlias = Callable[[Float[Tensor, "stream head query head_dim"]], Float[Tensor, "stream query dim"]]
"""Attention of projected queries to the keys of one layer, without the projection of its output."""


@dataclass(frozen=True)
class StoredKeys:
    """Keys and values that are known; windows have frames at the same places, whose positions are few.

    Attributes:
        keys: projected frames without positions, window by window.
        values: projected frames.
        windows: part of the projected position that depends on the age of a window.
        frames: part that depends on the place in the window.
        allowed: True at keys that may be seen; None: all.
    """

    keys: Float[Tensor, "stream key dim"]
    values: Float[Tensor, "stream key dim"]
    windows: Float[Tensor, "stream window dim"]
    frames: Float[Tensor, "frame dim"]
    allowed: Bool[Tensor, "stream 1 key"] | None

    def find(self, query: Float[Tensor, "stream head query head_dim"]) -> Float[Tensor, "stream query dim"]:
        """Return what the queries find; positions are added to their scores instead of to all keys."""
        heads = query.shape[1]
        of_windows, of_frames = (query @ split_heads(part, heads).mT for part in (self.windows, self.frames))
        bias = (of_windows[..., None] + of_frames[..., None, :]).flatten(-2) / math.sqrt(query.shape[-1])
        if self.allowed is not None:
            bias = bias.masked_fill(~self.allowed[:, None], -math.inf)
        key, value = split_heads(self.keys, heads), split_heads(self.values, heads)
        return join_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=bias))


class AbsorbedAttention:
    """Attention of few queries to more tokens: the queries are projected back instead of the tokens to keys.

    ``q (W_k x) = (W_k^T q) x`` for the scores, and the values' projection is applied to what is found. The bias of the
    keys adds the same to all scores of a query.

    Args:
        attention: its weights are copied.
    """

    def __init__(self, attention: Attention) -> None:
        heads = attention.num_heads
        self._key = attention.key.weight.unflatten(0, (heads, -1)).contiguous()  # head head_dim dim
        self._value = attention.value.weight.unflatten(0, (heads, -1)).mT.contiguous()  # head dim head_dim
        self._bias = attention.value.bias

    def find(
        self,
        query: Float[Tensor, "stream head query head_dim"],
        tokens: Float[Tensor, "stream key dim"],
        located: Float[Tensor, "stream key dim"],
    ) -> Float[Tensor, "stream query dim"]:
        """Return what the queries find in tokens, which are compared with their positions."""
        streams, heads, _, head_dim = query.shape
        asked = torch.bmm(query.transpose(0, 1).flatten(1, 2), self._key)  # head stream*query dim
        asked = asked.unflatten(1, (streams, -1)).transpose(0, 1).flatten(1, 2)  # stream head*query dim
        weights = (asked @ located.mT / math.sqrt(head_dim)).softmax(-1)
        found = (weights @ tokens).unflatten(1, (heads, -1)).transpose(0, 1).flatten(1, 2)  # head stream*query dim
        values = torch.bmm(found, self._value).unflatten(1, (streams, -1))  # head stream query head_dim
        return join_heads(values.transpose(0, 1)) + self._bias


class QueryLayer:
    """A decoder layer.

    Args:
        layer: its weights are copied.
        position: of the queries.
    """

    def __init__(self, layer: DecoderLayer, position: Float[Tensor, "query dim"]) -> None:
        self._position, self._num_heads = position, layer.cross_attention.num_heads
        self._self_attention, self._norm = FusedSelfAttention(layer.self_attention, position), layer.self_attention_norm
        self._query = FusedLinear([layer.cross_attention.query])
        self._output = FusedLinear([layer.cross_attention.output])
        self._feed_forward = FusedFeedForward(layer, layer.cross_attention_norm)

    def attend_to_queries(self, x: Float[Tensor, "stream query dim"]) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the self-attention, the first part of the layer."""
        attended: Tensor = self._norm(x + self._self_attention(x))
        return attended

    def attend_to_keys(self, x: Float[Tensor, "stream query dim"], find: Find) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the rest of the layer."""
        query = split_heads(self._query(x + self._position), self._num_heads)
        return self._feed_forward(x, self._output(find(query)))


class QueryDecoder:
    """Runs the layers of a decoder.

    Args:
        decoder: of a trained network; its weights are copied.
        position: of the queries.
    """

    def __init__(self, decoder: Decoder, position: Float[Tensor, "query dim"]) -> None:
        self.layers, self._norm = [QueryLayer(layer, position) for layer in decoder.decoder_layers], decoder.norm

    def __call__(
        self, x: Float[Tensor, "stream query dim"], finds: Sequence[Find], *, is_attended: bool = False
    ) -> Float[Tensor, "stream query dim"]:
        """Return the decoded queries.

        Args:
            x: queries.
            finds: attention to the keys of each layer.
            is_attended: the queries have been through the self-attention of the first layer.
        """
        for index, (layer, find) in enumerate(zip(self.layers, finds, strict=True)):
            if index or not is_attended:
                x = layer.attend_to_queries(x)
            x = layer.attend_to_keys(x, find)
        decoded: Tensor = self._norm(x)
        return decoded
