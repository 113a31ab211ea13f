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

    def forward(
        self,
        x: Float[Tensor, "row frame dim"],
        padding: Bool[Tensor, "row frame"],
        center: Bool[Tensor, "row frame"],
        state: MemoryState,
        final: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "row frame dim"], MemoryState]:
        """Return the frames of several windows of each recording, and the memory after its final segments.

        Args:
            x: frames; a recording's windows are consecutive rows.
            padding: True at frames to ignore.
            center: True at the frames of the segments.
            state: memory before the first of these segments.
            final: how many of them, from the first, are written into the memory.
        """
        u, after = self.attention_norm(x), state
        if self.has_bank:
            found, after = self.bank.run_windows(u, cast(RingBuffer, state), padding, center, final)
        else:
            found, _ = self.bank(u, self.bank.init_state(len(x), device=x.device), padding=padding)
        x = x + self.dropout(found)
        if self.memory is not None:
            chosen, split = center & ~padding, (len(final), -1)
            x, after = self._recall(x.unflatten(0, split), chosen.unflatten(0, split), state, final)
        x = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return x, after

    def _recall(
        self,
        x: Float[Tensor, "batch segment frame dim"],
        chosen: Bool[Tensor, "batch segment frame"],
        state: MemoryState,
        final: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "row frame dim"], MemoryState]:
        """Return the frames with what the memory adds to those of each segment, and the memory after final ones."""
        memory, outputs, after = cast(ResidualMemory, self.memory), [], state
        for number, (window, is_chosen) in enumerate(zip(x.unbind(1), chosen.unbind(1), strict=True)):
            recalled, state = memory(window, state, padding=~is_chosen)
            outputs.append(torch.where(is_chosen[..., None], recalled, window))
            after = after.replace_rows(number < final, state)
        return torch.stack(outputs, dim=1).flatten(0, 1), after


class SegmentEncoder(nn.Module):
    """Encodes speech segment by segment, each in a window with context, with a memory of the segments before.

    Args:
        config: sizes.

    Example:
        >>> from mnemic_speech.simultaneous.config import SegmentConfig
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
        batch = len(features)
        state, final = self.init_state(batch, features.device), torch.full_like(lengths, windows.num_segments)
        x, _ = self.encode_windows(windows.cut(features), windows, state, final)
        return windows.join(x, batch)

    def init_state(self, batch: int, device: torch.device | None = None) -> LayerStates:
        """Return the memory of each layer before the first segment."""
        return LayerStates(tuple(cast(SegmentLayer, layer).init_state(batch, device) for layer in self.layers))

    def encode_windows(
        self,
        features: Float[Tensor, "row time mel"],
        windows: Windows,
        state: LayerStates,
        final: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "row frame dim"], LayerStates]:
        """Return the encoder frames of consecutive segments of each recording, and the memory after the final ones.

        Args:
            features: of the windows.
            windows: where the segments lie in them; those of a recording with fewer segments end with empty ones.
            state: memory before the first of these segments.
            final: how many segments of each recording are written into the memory.
        """
        x, padding = self._embed(features[windows.distinct], windows.lengths[windows.distinct])
        x, padding = self.dropout(x[windows.source]), padding[windows.source]
        center, after = windows.center(x.shape[1]), []
        for layer, before in zip(self.layers, state, strict=True):
            x, memory = layer(x, padding, center, before, final)
            after.append(memory)
        return x, LayerStates(tuple(after))

    def _embed(
        self, features: Float[Tensor, "row time mel"], lengths: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row frame dim"], Bool[Tensor, "row frame"]]:
        """Return the frames before the first layer, and True at padding."""
        x, valid = self.subsampling(features, lengths)
        x = x * math.sqrt(self.config.dim)
        if self.config.positions == "sinusoidal":
            x = x + split_positions(torch.arange(x.shape[1], device=x.device), self.config.dim).to(x.dtype)
        padding = torch.arange(x.shape[1], device=x.device) >= valid[:, None]
        return x, padding
