"""The start decoder on stored frames whose keys and values are known."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.past_windows import QueuedWindows
from mnemic_vision.matr.positions import OLDEST, age_rows, sine_table
from mnemic_vision.matr.streaming.fused import FusedLinear
from mnemic_vision.matr.streaming.query_decoder import QueryDecoder, StoredKeys


class QueueReader:
    """Decodes the starts of actions from frames that bring keys and values of every layer along.

    A key is the sum of three linear parts: of the frame, of the age of its window, and of its place in the window. The
    last two are few, and are added to the scores of the queries instead of to all keys.

    Args:
        model: trained network.
        past_windows: its memory.
    """

    def __init__(self, model: Matr, past_windows: QueuedWindows) -> None:
        self.model = model
        self._decoder = QueryDecoder(model.start_decoder, model.paired_position)
        attentions = [layer.cross_attention for layer in model.start_decoder.decoder_layers]
        self._keys_and_values = FusedLinear([part for each in attentions for part in (each.key, each.value)])
        half, device = model.config.dim // 2, model.flag_token.device
        between = sine_table(OLDEST + 1, half, device)
        inside = sine_table(model.config.window, half, device)[torch.tensor(past_windows.ages, device=device)]
        keys = [each.key.weight for each in attentions]
        self._between = [F.linear(between, key[:, :half]) for key in keys]
        self._inside = [F.linear(inside, key[:, half:]) for key in keys]

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame keys_and_values"]:
        """Return the keys without position and the values of frames, layer by layer."""
        return self._keys_and_values(tokens)

    def decode_starts(
        self,
        ends: Float[Tensor, "stream query dim"],
        frames: Float[Tensor, "stream window frame keys_and_values"],
        window_age: Int[Tensor, "stream window"],
    ) -> Float[Tensor, "stream query dim"]:
        """Return the queries after the start decoder.

        Args:
            ends: queries after the end decoder.
            frames: of the windows in memory and of the current one, from `project_frames`.
            window_age: age of each window in windows, -1 where memory is empty.
        """
        age = age_rows(window_age)
        parts = frames.flatten(1, 2).split(self.model.config.dim, dim=-1)
        allowed = self._allowed(window_age, frames.shape[2])
        stored = [
            StoredKeys(key, value, between[age], inside, allowed)
            for key, value, between, inside in zip(parts[::2], parts[1::2], self._between, self._inside, strict=True)
        ]
        return self._decoder(ends, [each.find for each in stored])

    def _allowed(
        self, window_age: Int[Tensor, "stream window"], num_frames: int
    ) -> Bool[Tensor, "stream 1 key"] | None:
        """Return True at frames that may be seen, None for all."""
        if not self.model.config.masks_empty or bool((window_age >= 0).all()):
            return None
        return (window_age >= 0).repeat_interleave(num_frames, dim=1)[:, None]
