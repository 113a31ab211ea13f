"""Frames of an encoder that does not learn, computed before the first step where they can be kept."""

from hashlib import sha256

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mnemic_speech.features import Normalizer
from mnemic_speech.simultaneous import SegmentEncoder

KEPT_BYTES = 2e9


class FrozenFrames:
    """Encoder frames without dropout and gradient, kept in half precision.

    They are computed in an order of their own, so that a resumed training goes on as if it had not stopped.

    Args:
        encoder: it must not learn.
        normalizer: of features.
    """

    def __init__(self, encoder: SegmentEncoder, normalizer: Normalizer) -> None:
        self._encoder, self._normalizer = encoder, normalizer
        self._kept: dict[bytes, Float[Tensor, "frame dim"]] = {}  # by the features: names need not be unique

    def keep(self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]) -> None:
        """Compute the frames of utterances, and keep them."""
        frames, valid = self._encode(features, lengths)
        for key, row, length in zip(_keys(features, lengths), frames.half().cpu(), valid.tolist(), strict=True):
            self._kept[key] = row[:length].clone()

    def of(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frame dim"], Int[Tensor, " batch"]]:
        """Return the frames of a batch and their numbers; where nothing is kept, they are computed."""
        if not self._kept:
            return self._encode(features, lengths)
        found = [self._kept[key] for key in _keys(features, lengths)]
        return pad_sequence(found, batch_first=True).to(features), lengths.new_tensor([len(row) for row in found])

    def clear(self) -> None:
        """Give the memory back."""
        self._kept = {}

    @torch.no_grad()
    def _encode(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frame dim"], Int[Tensor, " batch"]]:
        was_training = self._encoder.training
        self._encoder.eval()
        found: tuple[Tensor, Tensor] = self._encoder(self._normalizer(features, lengths), lengths)
        self._encoder.train(was_training)
        return found


def _keys(features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]) -> list[bytes]:
    rows = zip(features.cpu().numpy(), lengths.tolist(), strict=True)
    return [sha256(row[:length].tobytes()).digest() for row, length in rows]
