"""The window of a stream without repeated work: segment encoder, flag and end decoder."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.layers import split_heads
from mnemic_vision.matr.layers import DecoderLayer, EncoderLayer
from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.positions import recency_positions


class WindowReader:
    """Encodes windows whose frames bring the input of the first layer along, and decodes the ends of actions.

    The first layer's projections are linear, so that those of frame and position are added:
    ``W (x + p) = W x + W p``. The first decoder layer attends to the learned queries alone, whose values are constant.

    Args:
        model: trained network.
    """

    def __init__(self, model: Matr) -> None:
        self.model = model
        self._position = recency_positions(model.config.window, model.config.dim, model.flag_token.device)
        encoder, decoder = self._first_layers()
        self._query_position = F.linear(self._position, encoder.attention.query.weight)
        self._key_position = F.linear(self._position, encoder.attention.key.weight)
        self._flag = self.project_frames(model.flag_token[None])
        self._queries = decoder.attend_to_queries(model.queries[None], model.paired_position)
        self._end_query = decoder.cross_attention.queries(self._queries + model.paired_position)

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame four_dims"]:
        """Return what is stored of a frame: the token and its query, key and value in the first layer."""
        attention = self._first_layers()[0].attention
        return torch.cat([tokens, attention.query(tokens), attention.key(tokens), attention.value(tokens)], dim=-1)

    def encode(self, frames: Float[Tensor, "stream window four_dims"]) -> Float[Tensor, "stream token dim"]:
        """Return the encoded frames of windows and, last, the encoded flag token."""
        first = self._first_layers()[0]
        flag = self._flag.expand(len(frames), 1, -1)
        x, query, key, value = torch.cat([frames, flag], dim=1).chunk(4, dim=-1)
        parts = query + self._query_position, key + self._key_position, value
        heads = [split_heads(part, first.attention.num_heads) for part in parts]
        found = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        x = first.finish(x, first.attention.merge(found))
        for layer in list(self.model.encoder.layers)[1:]:
            x = layer(x, self._position)
        encoded: Tensor = self.model.encoder.norm(x)
        return encoded

    def decode_ends(self, encoded: Float[Tensor, "stream token dim"]) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the end decoder."""
        decoder, position = self.model.end_decoder, self.model.paired_position
        (keys, values), *others = decoder.keys_and_values(encoded[:, :-1], self._position[:-1])
        first = self._first_layers()[1]
        found = F.scaled_dot_product_attention(self._end_query.expand(len(encoded), -1, -1, -1), keys, values)
        x = first.finish(self._queries.expand(len(encoded), -1, -1), first.cross_attention.merge(found))
        for layer, pair in zip(list(decoder.layers)[1:], others, strict=True):
            x = layer(x, position, pair)
        decoded: Tensor = decoder.norm(x)
        return decoded

    def _first_layers(self) -> tuple[EncoderLayer, DecoderLayer]:
        """Return the first layers of encoder and end decoder."""
        encoder, decoder = self.model.encoder.layers[0], self.model.end_decoder.layers[0]
        assert isinstance(encoder, EncoderLayer)
        assert isinstance(decoder, DecoderLayer)
        return encoder, decoder
