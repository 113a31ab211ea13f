"""The segment encoder: windows with context, and summaries of past segments (arXiv 2005.08042, 2307.01377)."""

import math
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState, ResidualMemory
from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.buffers.summary_bank import SummaryBank
from mnemic_core.layer_states import LayerStates
from mnemic_core.layers import FeedForward
from mnemic_speech.decoder import split_positions
from mnemic_speech.simultaneous.config import SegmentEncoderConfig, Shift, shifted_sides
from mnemic_speech.simultaneous.subsampling import WindowSubsampling
from mnemic_speech.simultaneous.windows import Windows


class SegmentLayer(nn.Module):
    """A pre-norm block: attention within the window and to the memory, and a feed-forward network.

    ::

        u = norm(x);  x = x + attention(u, summaries of past segments)
        x = x + memory(x at the segment)                              a memory other than the summary bank
        x = x + feed_forward(norm(x))

    Args:
        config: sizes.
    """

    def __init__(self, config: SegmentEncoderConfig) -> None:
        super().__init__()
        options: dict[str, Any] = config.memory.options if config.memory.name == "summary_bank" else {"capacity": 1}
        self.has_bank = config.memory.name == "summary_bank"
        self.attention_norm, self.ffn_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.bank = SummaryBank(
            config.dim,
            num_heads=config.num_heads,
            max_distance=config.max_distance if config.positions == "relative" else 0,
            suppression=config.suppression,
            dropout=config.attention_dropout,
            **options,
        )
        self.memory = None
        if config.memory.name not in {"summary_bank", "none"}:
            self.memory = ResidualMemory(config.dim, config.memory, is_gated=True)
        self.ffn = FeedForward(config.dim, config.ffn_dim, F.relu, config.activation_dropout)
        self.dropout = nn.Dropout(config.dropout)

    def init_state(self, batch: int, device: torch.device | None = None) -> MemoryState:
        """Return the memory before the first segment."""
        state: MemoryState = (self.memory or self.bank).init_state(batch, device=device)
        return state

    def step(
        self,
        x: Float[Tensor, "batch frame dim"],
        state: MemoryState,
        padding: Bool[Tensor, "batch frame"],
        center: Bool[Tensor, "batch frame"],
    ) -> tuple[Float[Tensor, "batch frame dim"], MemoryState]:
        """Return the frames of one window after the block, and the memory after its segment."""
        u = self.attention_norm(x)
        bank = state if self.has_bank else self.bank.init_state(x.shape[0], device=x.device)
        found, after = self.bank(u, bank, padding=padding, center=center)
        x = x + self.dropout(found)
        if self.memory is not None:
            x, state = self._recall(x, state, center & ~padding)
        x = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return x, after if self.has_bank else state

    def forward(
        self,
        x: Float[Tensor, "row frame dim"],
        padding: Bool[Tensor, "row frame"],
        center: Bool[Tensor, "row frame"],
        num_segments: int,
    ) -> Float[Tensor, "row frame dim"]:
        """Return the frames of all windows of recordings; a recording's windows are consecutive rows.

        The summary of a segment does not depend on the summaries before it: all are computed first, then all frames, so
        there is no loop over segments.
        """
        u = self.attention_norm(x)
        found, _ = self.bank.attention(
            u, _mean(u, center & ~padding), self._banks(u, padding, center, num_segments), padding
        )
        x = x + self.dropout(found)
        if self.memory is not None:
            x = self._recall_all(x, center & ~padding, num_segments)
        y: Tensor = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return y

    def _banks(
        self,
        u: Float[Tensor, "row frame dim"],
        padding: Bool[Tensor, "row frame"],
        center: Bool[Tensor, "row frame"],
        num_segments: int,
    ) -> RingBuffer:
        """Return what the bank of each segment holds: the summaries of those before it."""
        if not self.has_bank:
            return self.bank.init_state(len(u), device=u.device)
        capacity = self.bank.capacity
        summaries = self.bank.attention.summarize(u, _mean(u, center & ~padding), padding)
        if self.bank.detach == "stored":
            summaries = summaries.detach()
        segments = summaries.unflatten(0, (-1, num_segments))  # batch segment dim
        segment = torch.arange(num_segments, device=u.device)
        count = segment.clamp(max=capacity)
        source = (segment - count)[:, None] + torch.arange(capacity, device=u.device)  # segment slot
        held = segments[:, source.clamp(max=num_segments - 1)]  # batch segment slot dim
        held = held.masked_fill((source >= segment[:, None])[..., None], 0)
        batch = len(segments)
        return RingBuffer(held.flatten(0, 1), (count % capacity).repeat(batch), count.repeat(batch))

    def _recall(
        self, x: Float[Tensor, "batch frame dim"], state: MemoryState, center: Bool[Tensor, "batch frame"]
    ) -> tuple[Float[Tensor, "batch frame dim"], MemoryState]:
        """Return the frames with what the memory adds to those of the segment, and the memory after it."""
        recalled, state = cast(ResidualMemory, self.memory)(x, state, padding=~center)
        return torch.where(center[..., None], recalled, x), state

    def _recall_all(
        self, x: Float[Tensor, "row frame dim"], center: Bool[Tensor, "row frame"], num_segments: int
    ) -> Float[Tensor, "row frame dim"]:
        windows, centers = x.unflatten(0, (-1, num_segments)), center.unflatten(0, (-1, num_segments))
        state, outputs = self.init_state(len(windows), x.device), []
        for window, is_center in zip(windows.unbind(1), centers.unbind(1), strict=True):
            recalled, state = self._recall(window, state, is_center)
            outputs.append(recalled)
        return torch.stack(outputs, dim=1).flatten(0, 1)


class SegmentEncoder(nn.Module):
    """Encodes speech segment by segment, each in a window with context, with a memory of the segments before.

    Args:
            config: sizes.

    Example:
            >>> from mnemic_speech.decoder import split_positions
    from mnemic_speech.simultaneous.config import SegmentConfig
            >>> config = SegmentEncoderConfig(num_mels=8, dim=8, num_heads=2, ffn_dim=16, num_layers=1, conv_channels=2,
            ...     segments=SegmentConfig(16, 8, 8))
            >>> frames, lengths = SegmentEncoder(config)(torch.randn(2, 50, 8), torch.tensor([50, 30]))
            >>> frames.shape, lengths.tolist()
            (torch.Size([2, 13, 8]), [13, 8])
    """

    def __init__(self, config: SegmentEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.subsampling = WindowSubsampling(config.num_mels, config.conv_channels, config.dim)
        self.layers = nn.ModuleList(SegmentLayer(config) for _ in range(config.num_layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"], shift: Shift | None = None
    ) -> tuple[Float[Tensor, "batch frame dim"], Int[Tensor, " batch"]]:
        """Return the encoder frames of complete recordings, a quarter of the feature frames, and their number.

        Args:
            features: of recordings.
            lengths: feature frames of each; the rest is ignored.
            shift: of windows; None: that of training.
        """
        sides = shifted_sides(shift or self.config.segments.shift)
        windows = Windows.of(lengths.tolist(), self.config.segments, sides).to(features.device)
        if not windows.num_segments:
            return features.new_zeros(len(features), 0, self.config.dim), lengths
        x, padding = self._embed(windows.cut(features), windows.lengths)
        center = windows.center(x.shape[1])
        for layer in self.layers:
            x = layer(x, padding, center, windows.num_segments)
        return windows.join(x, len(features))

    def init_state(self, batch: int, device: torch.device | None = None) -> LayerStates:
        """Return the memory of each layer before the first segment."""
        return LayerStates(tuple(cast(SegmentLayer, layer).init_state(batch, device) for layer in self.layers))

    def encode_windows(
        self, features: Float[Tensor, "batch time mel"], windows: Windows, state: LayerStates
    ) -> tuple[Float[Tensor, "batch frame dim"], Int[Tensor, " batch"], LayerStates]:
        """Return the encoder frames of one segment of each recording, their number, and the memory after it.

        Args:
            features: of the windows, one for each recording.
            windows: where the segments lie in them; a recording with an empty one gets no frame and keeps its memory.
            state: after the segments before.
        """
        x, padding = self._embed(features, windows.lengths)
        center, after = windows.center(x.shape[1]), []
        for layer, before in zip(self.layers, state, strict=True):
            x, memory = cast(SegmentLayer, layer).step(x, before, padding, center)
            after.append(memory)
        frames, lengths = windows.join(x, len(features))
        return frames, lengths, LayerStates(tuple(after))

    def _embed(
        self, features: Float[Tensor, "row time mel"], lengths: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row frame dim"], Bool[Tensor, "row frame"]]:
        """Return the frames before the first layer, and True at padding."""
        x, valid = self.subsampling(features, lengths)
        x = x * math.sqrt(self.config.dim)
        if self.config.positions == "sinusoidal":
            x = x + split_positions(torch.arange(x.shape[1], device=x.device), self.config.dim).to(x.dtype)
        padding = torch.arange(x.shape[1], device=x.device) >= valid[:, None]
        return self.dropout(x), padding


def _mean(x: Float[Tensor, "row frame dim"], chosen: Bool[Tensor, "row frame"]) -> Float[Tensor, "row dim"]:
    """Return the mean of chosen frames, 0 of none."""
    number = chosen.sum(1, keepdim=True).clamp(min=1)
    return x.masked_fill(~chosen[..., None], 0).sum(1) / number
