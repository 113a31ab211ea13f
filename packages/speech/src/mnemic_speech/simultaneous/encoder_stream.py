"""Encoding of running streams: final segments once, and what may still change on demand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
        >>> final, unfinished, state = streams.push(torch.randn(1, 40, 8), torch.tensor([40]), streams.start(1))
        >>> final.lengths.tolist(), unfinished.lengths.tolist()
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
    ) -> tuple[Frames, Frames, EncoderStreamState]:
        """Return the encoder frames that became final, those after them that may still change, and the new state.

        Args:
            features: further frames of each stream.
            lengths: how many are valid; 0 for a stream that has none now.
            state: of the streams.
            ended: True where these are the last ones, with which all segments are final.
        """
        finals, length = [], self._sizes[0]
        unfinished = self._nothing(state)
        for start in range(0, max(1, features.shape[1]), length):  # so that the kept features are enough
            piece, is_last = features[:, start : start + length], start + length >= features.shape[1]
            state = _append(state, piece, (lengths - start).clamp(0, piece.shape[1]))
            if ended is not None and is_last:
                state = replace(state, ended=state.ended | ended)
            final, unfinished, state = self._encode(state, with_open=is_last)
            finals.append(final)
        return _join(finals), unfinished, state

    def _encode(self, state: EncoderStreamState, *, with_open: bool) -> tuple[Frames, Frames, EncoderStreamState]:
        """Encode the segments that are final now and, if wanted, those after them, all in one call."""
        layouts, number_final = self._segments(state, with_open=with_open)
        device, batch = state.features.device, len(layouts)
        windows = Windows.of_layouts(layouts).to(device)
        number = windows.num_segments
        if not number:
            return self._nothing(state), self._nothing(state), state
        final = torch.tensor(number_final, device=device)
        offset = (self._capacity - state.received).repeat_interleave(number)[:, None]
        cut = replace(windows, frames=windows.frames + offset).cut(state.features)
        frames, memory = self.encoder.encode_windows(cut, windows, state.memory, final)
        is_final = torch.arange(number, device=device) < final[:, None]
        done, unfinished = (Frames(*windows.join(frames, batch, chosen)) for chosen in (is_final, ~is_final))
        return done, unfinished, replace(state, memory=memory, segments=state.segments + final)

    def _segments(self, state: EncoderStreamState, *, with_open: bool) -> tuple[list[list[ContextWindow]], list[int]]:
        """Return the windows of each stream that are to be encoded, and how many of them are final."""
        rows, finals = [], []
        counts = zip(state.segments.tolist(), state.received.tolist(), state.ended.tolist(), strict=True)
        for segments, received, ended in counts:
            starts = range(segments * self._sizes[0], received, self._sizes[0])
            needed = [frames_to_final(start, *self._sizes, shift=self._sides) for start in starts]
            number = len(starts) if ended else sum(frames <= received for frames in needed)
            chosen = starts if with_open else starts[:number]
            rows.append([context_window(received, start, *self._sizes, shift=self._sides) for start in chosen])
            finals.append(number)
        return rows, finals

    def _nothing(self, state: EncoderStreamState) -> Frames:
        empty = state.features.new_zeros(len(state.received), 0, self.encoder.config.dim)
        return Frames(empty, torch.zeros_like(state.received))


def _append(
    state: EncoderStreamState, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"]
) -> EncoderStreamState:
    capacity = state.features.shape[1]
    both = torch.cat([state.features, features.to(state.features.dtype)], dim=1)
    place = torch.arange(capacity, device=both.device) + lengths[:, None]
    kept = both.gather(1, place[..., None].expand(-1, -1, both.shape[2]))
    return replace(state, features=kept, received=state.received + lengths)


def _join(outputs: Sequence[Frames]) -> Frames:
    """Return the frames of several calls one after the other, for each stream."""
    if len(outputs) == 1:
        return outputs[0]
    lengths = torch.stack([each.lengths for each in outputs]).sum(0)
    rows = [torch.cat([each.frames[row, : each.lengths[row]] for each in outputs]) for row in range(len(lengths))]
    return Frames(pad_sequence(rows, batch_first=True), lengths)
