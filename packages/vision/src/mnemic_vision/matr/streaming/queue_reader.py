"""The start decoder on stored frames whose keys and values are known."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.layers import split_heads
from mnemic_vision.matr.layers import DecoderLayer
from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.past_windows import PastWindows
from mnemic_vision.matr.positions import OLDEST, sine_table


class QueueReader:
    """Decodes the starts of actions from frames that bring keys and values of every layer along.

    A key is the sum of three linear parts: of the frame, of the age of its window, and of its place in the window.

    Args:
        model: trained network with the paper's memory.
    """

    def __init__(self, model: Matr) -> None:
        self.model = model
        past_windows = model.past_windows
        assert isinstance(past_windows, PastWindows)
        half, device = model.config.dim // 2, model.flag_token.device
        between = sine_table(OLDEST + 1, half, device)
        inside = sine_table(model.config.window, half, device)[torch.tensor(past_windows.ages, device=device)]
        self._between = [F.linear(between, layer.cross_attention.key.weight[:, :half]) for layer in self._layers()]
        self._inside = [F.linear(inside, layer.cross_attention.key.weight[:, half:]) for layer in self._layers()]

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame keys_and_values"]:
        """Return the keys without position and the values of frames, layer by layer."""
        pairs = ((layer.cross_attention.key(tokens), layer.cross_attention.value(tokens)) for layer in self._layers())
        return torch.cat([part for pair in pairs for part in pair], dim=-1)

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
        position, x = self.model.paired_position, ends
        allowed = self._allowed(window_age, frames.shape[2])
        parts = frames.split(self.model.config.dim, dim=-1)
        age = torch.where(window_age < 0, OLDEST, window_age.clamp(max=OLDEST))
        for index, layer in enumerate(self._layers()):
            place = self._between[index][age][:, :, None] + self._inside[index]  # stream window frame dim
            pair = (
                split_heads(part.flatten(1, 2), layer.cross_attention.num_heads)
                for part in (parts[2 * index] + place, parts[2 * index + 1])
            )
            x = layer(x, position, tuple(pair), allowed)
        decoded: Tensor = self.model.start_decoder.norm(x)
        return decoded

    def _allowed(self, window_age: Int[Tensor, "stream window"], num_frames: int) -> Tensor | None:
        """Return True at frames that may be seen, None for all."""
        if not self.model.config.masks_empty or bool((window_age >= 0).all()):
            return None
        return (window_age >= 0).repeat_interleave(num_frames, dim=1)[:, None]

    def _layers(self) -> Iterator[DecoderLayer]:
        return (layer for layer in self.model.start_decoder.layers if isinstance(layer, DecoderLayer))
