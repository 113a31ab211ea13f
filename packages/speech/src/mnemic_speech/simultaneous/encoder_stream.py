"""Encoding of running streams: final segments once, and what may still change on demand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.buffers.context_windows import ContextWindow, Side, context_window, frames_to_final
from mnemic_core.layer_states import LayerStates
from mnemic_core.state import MemoryState
from mnemic_speech.simultaneous.config import Shift, shifted_sides
from mnemic_speech.simultaneous.encoder import SegmentEncoder
from mnemic_speech.simultaneous.windows import Windows


@dataclass(frozen=True)
class EncoderStreamState(MemoryState):
    """What streams carry on: the latest features, and the memory after the last final segment.

    Attributes:
        features: the latest feature frames, the newest last; zeros before the first.
        received: feature frames so far.
        segments: final segments so far.
        ended: True where the stream is complete.
        memory: of each layer.
    """

    features: Float[Tensor, "batch capacity mel"]
    received: Int[Tensor, " batch"]
    segments: Int[Tensor, " batch"]
    ended: Bool[Tensor, " batch"]
    memory: LayerStates


class Frames(NamedTuple):
    """Encoder frames of each stream, zeros after the valid ones.

    Attributes:
        frames: of the streams.
        lengths: valid frames of each.
    """

    frames: Float[Tensor, "batch frame dim"]
    lengths: Int[Tensor, " batch"]


class EncoderStreams:
    """Runs an encoder over streams that grow, several in a batch, each at its own pace.

    A segment is final when no further frame can change its window. Final segments are encoded once; the released code
    encodes all anew with every chunk. Outputs of all segments equal those of the complete encoder on the frames so far,
    however they arrived. Memory and cost of a chunk do not depend on what came before.

    Args:
        encoder: trained network, in evaluation mode.
        shift: of windows.

    Example:
        >>> from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig
        >>> config = SegmentEncoderConfig(num_mels=8, dim=8, num_heads=2, ffn_dim=16, num_layers=1, conv_channels=2,
        ...     segments=SegmentConfig(16, 8, 8))
        >>> streams = EncoderStreams(SegmentEncoder(config).eval(), "all")
        >>> final, state = streams.push(torch.randn(1, 40, 8), torch.tensor([40]), streams.start(1))
        >>> final.lengths.tolist(), streams.open(state).lengths.tolist()
        ([8], [2])
    """

    def __init__(self, encoder: SegmentEncoder, shift: Shift = "all") -> None:
        self.encoder, self.shift = encoder, shift
        self._sides: tuple[Side, ...] = shifted_sides(shift)
        sizes = encoder.config.segments
        self._sizes = (sizes.length, sizes.left, sizes.right)
        # The window of the first segment that is not final begins at most two windows before the newest frame; pushed
        # is at most a segment at a time.
        self._capacity = 2 * sizes.window + sizes.length

    def start(self, batch: int, device: torch.device | None = None) -> EncoderStreamState:
        """Return the state of empty streams."""
        empty = torch.zeros(batch, self._capacity, self.encoder.config.num_mels, device=device)
        zeros = torch.zeros(batch, dtype=torch.long, device=device)
        memory = self.encoder.init_state(batch, device)
        return EncoderStreamState(empty, zeros, zeros, zeros.bool(), memory)

    @torch.no_grad()
    def push(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        state: EncoderStreamState,
        ended: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Frames, EncoderStreamState]:
        """Return the encoder frames that became final with the next features, and the new state.

        Args:
            features: further frames of each stream.
            lengths: how many are valid; 0 for a stream that has none now.
            state: of the streams.
            ended: True where these are the last ones, with which all segments are final.
        """
        outputs = []
        length = self._sizes[0]
        for start in range(0, max(1, features.shape[1]), length):  # so that the kept features are enough
            piece = features[:, start : start + length]
            state = _append(state, piece, (lengths - start).clamp(0, piece.shape[1]))
            if ended is not None and start + length >= features.shape[1]:
                state = replace(state, ended=state.ended | ended)
            frames, state = self._finish_segments(state)
            outputs += frames
        return _join(outputs, state, self.encoder.config.dim), state

    @torch.no_grad()
    def open(self, state: EncoderStreamState) -> Frames:
        """Return the encoder frames of the segments that may still change, as they are now."""
        outputs = []
        for _ in range(self._most_open()):
            rows = [
                self._window(number, received) if number * self._sizes[0] < received else None
                for number, received in zip(state.segments.tolist(), state.received.tolist(), strict=True)
            ]
            if not any(rows):
                break
            frames, state = self._encode(rows, state)
            outputs.append(frames)
        return _join(outputs, state, self.encoder.config.dim)

    def _finish_segments(self, state: EncoderStreamState) -> tuple[list[Frames], EncoderStreamState]:
        outputs = []
        while any(rows := self._final_windows(state)):
            frames, state = self._encode(rows, state)
            outputs.append(frames)
        return outputs, state

    def _final_windows(self, state: EncoderStreamState) -> list[ContextWindow | None]:
        """Return the next window of each stream if it is final."""
        rows: list[ContextWindow | None] = []
        counts = zip(state.segments.tolist(), state.received.tolist(), state.ended.tolist(), strict=True)
        for number, received, ended in counts:
            start = number * self._sizes[0]
            needed = frames_to_final(start, *self._sizes, shift=self._sides)
            is_final = received >= needed or (ended and start < received)
            rows.append(self._window(number, received) if is_final else None)
        return rows

    def _window(self, number: int, received: int) -> ContextWindow:
        return context_window(received, number * self._sizes[0], *self._sizes, shift=self._sides)

    def _encode(
        self, rows: Sequence[ContextWindow | None], state: EncoderStreamState
    ) -> tuple[Frames, EncoderStreamState]:
        """Encode the next segment of the streams that have one."""
        windows = Windows.of_rows(rows).to(state.features.device)
        kept = replace(windows, frames=windows.frames + (self._capacity - state.received)[:, None])
        frames, lengths, memory = self.encoder.encode_windows(kept.cut(state.features), windows, state.memory)
        has_window = torch.tensor([row is not None for row in rows], device=lengths.device)
        return Frames(frames, lengths), replace(state, memory=memory, segments=state.segments + has_window)

    def _most_open(self) -> int:
        """Return how many segments of a stream can be open at once."""
        length, left, right = self._sizes
        return 1 + -(-(right + (left if "left" in self._sides else 0)) // length)


def _append(
    state: EncoderStreamState, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
) -> EncoderStreamState:
    capacity = state.features.shape[1]
    both = torch.cat([state.features, features.to(state.features.dtype)], dim=1)
    place = torch.arange(capacity, device=both.device) + lengths[:, None]
    kept = both.gather(1, place[..., None].expand(-1, -1, both.shape[2]))
    return replace(state, features=kept, received=state.received + lengths)


def _join(outputs: Sequence[Frames], state: EncoderStreamState, dim: int) -> Frames:
    """Return the frames of several segments of each stream one after the other."""
    batch = len(state.received)
    if not outputs:
        return Frames(state.features.new_zeros(batch, 0, dim), torch.zeros_like(state.received))
    lengths = torch.stack([each.lengths for each in outputs], dim=1)  # batch segment
    most = int(lengths.sum(1).max())
    joined = outputs[0].frames.new_zeros(batch, most, dim)
    for row in range(batch):
        parts = [each.frames[row, : each.lengths[row]] for each in outputs]
        filled = torch.cat(parts)
        joined[row] = F.pad(filled, (0, 0, 0, most - len(filled)))
    return Frames(joined, lengths.sum(1))
