"""The window of a stream without repeated work: segment encoder, flag and end decoder."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.positions import recency_positions
from mnemic_vision.matr.streaming.fused import FusedFeedForward, FusedSelfAttention
from mnemic_vision.matr.streaming.query_decoder import AbsorbedAttention, QueryDecoder


class WindowReader:
    """Encodes windows whose frames bring the input of the first layer along, and decodes the ends of actions.

    The first decoder layer attends to the learned queries alone, so that its values are constant.

    Args:
        model: trained network.
    """

    def __init__(self, model: Matr) -> None:
        self.model = model
        position = recency_positions(model.config.window, model.config.dim, model.flag_token.device)
        layers = model.encoder.encoder_layers
        self._attentions = [FusedSelfAttention(layer.attention, position) for layer in layers]
        self._feed_forwards = [FusedFeedForward(layer, layer.attention_norm) for layer in layers]
        self._flag = self.project_frames(model.flag_token[None])
        self._position = position[:-1]
        self._decoder = QueryDecoder(model.end_decoder, model.paired_position)
        self._finds = [AbsorbedAttention(layer.cross_attention) for layer in model.end_decoder.decoder_layers]
        self._queries = self._decoder.layers[0].attend_to_queries(model.queries[None])

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame four_dims"]:
        """Return what is stored of frames: the token and its query, key and value in the first layer."""
        return torch.cat([tokens, self._attentions[0].project(tokens)], dim=-1)

    def encode(self, frames: Float[Tensor, "stream window four_dims"]) -> Float[Tensor, "stream token dim"]:
        """Return the encoded frames of windows and, last, the encoded flag token."""
        stored = torch.cat([frames, self._flag.expand(len(frames), 1, -1)], dim=1)
        x, projected = stored.split([self.model.config.dim, 3 * self.model.config.dim], dim=-1)
        for attention, feed_forward in zip(self._attentions, self._feed_forwards, strict=True):
            is_first = attention is self._attentions[0]
            x = feed_forward(x, attention.attend(projected) if is_first else attention(x))
        encoded: Tensor = self.model.encoder.norm(x)
        return encoded

    def decode_ends(self, encoded: Float[Tensor, "stream token dim"]) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the end decoder."""
        tokens = encoded[:, :-1]
        located = tokens + self._position
        finds = [partial(attention.find, tokens=tokens, located=located) for attention in self._finds]
        return self._decoder(self._queries.expand(len(encoded), -1, -1), finds, is_attended=True)
