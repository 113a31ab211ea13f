"""A decoder for the queries of one frame, with keys and values that are already projected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.layers import join_heads, split_heads
from mnemic_vision.matr.layers import Decoder, DecoderLayer
from mnemic_vision.matr.streaming.fused import FusedFeedForward, FusedLinear, FusedSelfAttention


@dataclass(frozen=True)
class KeyPlaces:
    """Positions of the keys of one layer, projected as keys: every window has frames at the same places.

    Attributes:
        windows: part of the position that depends on the age of a window.
        frames: part that depends on the place in the window.
    """

    windows: Float[Tensor, "stream window dim"]
    frames: Float[Tensor, "frame dim"]

    def bias(
        self, query: Float[Tensor, "stream head query head_dim"], allowed: Bool[Tensor, "stream 1 key"] | None
    ) -> Float[Tensor, "stream head query key"]:
        """Return what the positions add to the scaled scores of the keys; minus infinity where a key is not allowed."""
        heads = query.shape[1]
        of_windows, of_frames = (query @ split_heads(part, heads).mT for part in (self.windows, self.frames))
        bias = (of_windows[..., None] + of_frames[..., None, :]).flatten(-2) / math.sqrt(query.shape[-1])
        return bias if allowed is None else bias.masked_fill(~allowed[:, None], -math.inf)


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

    def attend_to_keys(
        self,
        x: Float[Tensor, "stream query dim"],
        keys: Float[Tensor, "stream key dim"],
        values: Float[Tensor, "stream key dim"],
        places: KeyPlaces | None,
        allowed: Bool[Tensor, "stream 1 key"] | None,
    ) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the rest of the layer; keys hold their positions unless their places are given."""
        parts = self._query(x + self._position), keys, values
        query, key, value = (split_heads(part, self._num_heads) for part in parts)
        mask = None if places is None else places.bias(query, allowed)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self._feed_forward(x, self._output(join_heads(found)))


class QueryDecoder:
    """Runs the layers of a decoder.

    Args:
        decoder: of a trained network; its weights are copied.
        position: of the queries.

    Attributes:
        keys_and_values: projection of tokens to keys and values, layer by layer.
    """

    def __init__(self, decoder: Decoder, position: Float[Tensor, "query dim"]) -> None:
        self.layers, self._norm = [QueryLayer(layer, position) for layer in decoder.decoder_layers], decoder.norm
        pairs = ((layer.cross_attention.key, layer.cross_attention.value) for layer in decoder.decoder_layers)
        self.keys_and_values = FusedLinear([projection for pair in pairs for projection in pair])

    def __call__(
        self,
        x: Float[Tensor, "stream query dim"],
        keys_values: Sequence[Float[Tensor, "stream key dim"]],
        places: Sequence[KeyPlaces | None],
        allowed: Bool[Tensor, "stream 1 key"] | None = None,
        *,
        is_attended: bool = False,
    ) -> Float[Tensor, "stream query dim"]:
        """Return the decoded queries.

        Args:
            x: queries.
            keys_values: keys and values of each layer in turn.
            places: of the keys of each layer; None where keys hold their positions.
            allowed: True at keys that may be seen, which have places; None: all.
            is_attended: the queries have been through the self-attention of the first layer.
        """
        for index, layer in enumerate(self.layers):
            if index or not is_attended:
                x = layer.attend_to_queries(x)
            keys, values = keys_values[2 * index : 2 * index + 2]
            x = layer.attend_to_keys(x, keys, values, places[index], allowed)
        decoded: Tensor = self._norm(x)
        return decoded
