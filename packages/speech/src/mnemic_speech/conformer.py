"""Conformer encoder for complete recordings, or chunk by chunk with an explicit state."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState
from mnemic_core.errors import UserError, check_range
from mnemic_core.layers import FeedForward
from mnemic_speech.attention import KeyValue, RelativeSelfAttention, relative_positions
from mnemic_speech.convolution import ConvolutionModule
from mnemic_speech.subsampling import CONTEXT, STRIDE, ConvSubsampling

NORM_EPS = 1e-12  # of every LayerNorm in ESPnet, for equal outputs with its weights


@dataclass(frozen=True)
class ConformerConfig:
    """Sizes and attention span of a Conformer encoder; the defaults are those of every published Conformer-NTM.

    Args:
        num_mels: features of a frame.
        dim: width of frames; even and a multiple of ``num_heads``.
        num_heads: attention heads.
        ffn_dim: hidden width of the two feed-forward modules of a block.
        num_layers: blocks.
        kernel_size: frames of a block's convolution, an odd number.
        dropout: of residual branches, attention weights and the input of the first block.
        mask_conv: zero padding before convolutions and exclude it from batch statistics, so that results do not depend
            on padding. False is the released code, in which padding enters both and a padded recording can count one
            frame more.
        is_causal_conv: convolutions see no future frames.
        chunk_size: frames (of 4 feature frames) per chunk; needs ``is_causal_conv``. None: full attention.
        left_chunks: previous chunks a frame attends to; -1: all of them, which cannot be streamed.
    """

    num_mels: int = 80
    dim: int = 256
    num_heads: int = 4
    ffn_dim: int = 1024
    num_layers: int = 12
    kernel_size: int = 31
    dropout: float = 0.1
    mask_conv: bool = True
    is_causal_conv: bool = False
    chunk_size: int | None = None
    left_chunks: int = -1

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_mels", "dim", "num_heads", "ffn_dim", "num_layers", "kernel_size", "chunk_size")
        check_range(self, 0, 1, "dropout")
        check_range(self, -1, inf, "left_chunks")
        if self.is_causal_conv and not self.mask_conv:
            raise UserError("mask_conv=False is the released code, which has no causal form: set is_causal_conv=False")
        if self.chunk_size is not None and not self.is_causal_conv:
            raise UserError(
                "chunk_size needs is_causal_conv=True, since other convolutions see the next chunk; got "
                f"chunk_size={self.chunk_size}, is_causal_conv={self.is_causal_conv}"
            )


@dataclass(frozen=True)
class ConformerState(MemoryState):
    """State of a stream between chunks; zeros at its start.

    Attributes:
        features: the last feature frames, covered again by the first frame of the next chunk.
        keys: of the frames in the last ``left_chunks`` chunks.
        values: likewise.
        conv_context: the last inputs of each block's depthwise convolution.
        count: frames so far.
    """

    features: Float[Tensor, "batch context mel"]
    keys: Float[Tensor, "batch layer head cached head_dim"]
    values: Float[Tensor, "batch layer head cached head_dim"]
    conv_context: Float[Tensor, "batch layer kernel_context dim"]
    count: Int[Tensor, " batch"]


class BlockCache(NamedTuple):
    """Cache of one block in a stream."""

    attention: KeyValue
    conv_context: Float[Tensor, "batch kernel_context dim"]


class ConformerBlock(nn.Module):
    """Half-step feed-forward module, attention, convolution and second half-step, pre-norm with residuals.

    Gulati et al. 2020 (arXiv:2005.08100), equation 1, with the final norm inside the block.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.first_ffn_norm, self.attention_norm, self.convolution_norm, self.second_ffn_norm, self.final_norm = (
            nn.LayerNorm(dim, eps=NORM_EPS) for _ in range(5)
        )
        self.first_ffn, self.second_ffn = (FeedForward(dim, config.ffn_dim, F.silu, config.dropout) for _ in range(2))
        self.attention = RelativeSelfAttention(dim, config.num_heads, config.dropout)
        self.convolution = ConvolutionModule(dim, config.kernel_size, is_causal=config.is_causal_conv)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch frame dim"],
        positions: Float[Tensor, "distance dim"],
        allowed: Bool[Tensor, "#batch #frame key"],
        padding: Bool[Tensor, "batch frame"] | None,
        earlier: BlockCache | None = None,
    ) -> tuple[Float[Tensor, "batch frame dim"], BlockCache]:
        """Return the frames after the block, and its cache for a stream.

        Args:
            x: the frames.
            positions: sinusoids of the distances from queries to keys.
            allowed: True where a frame may attend to a key.
            padding: True at frames that the convolution zeroes.
            earlier: the cache of the preceding frames.
        """
        x = x + 0.5 * self.dropout(self.first_ffn(self.first_ffn_norm(x)))
        known = None if earlier is None else earlier.attention
        found, known = self.attention(self.attention_norm(x), positions, allowed, known)
        x = x + self.dropout(found)
        context = None if earlier is None else earlier.conv_context
        mixed, context = self.convolution(self.convolution_norm(x), padding, context)
        x = x + self.dropout(mixed)
        x = x + 0.5 * self.dropout(self.second_ffn(self.second_ffn_norm(x)))
        return self.final_norm(x), BlockCache(known, context)


class Conformer(nn.Module):
    """Convolution-augmented transformer encoder from feature frames to hidden frames at a quarter of the rate.

    Gulati et al. (Interspeech 2020, arXiv:2005.08100) as in ESPnet. With ``chunk_size`` a frame attends to its chunk
    and ``left_chunks`` previous ones, and convolutions are causal: :meth:`stream` then gives chunk by chunk the result
    of :meth:`forward`.

    State of a stream: ``4 num_mels + num_layers (2 left_chunks chunk_size + kernel_size - 1) dim`` floats and a counter
    in each row.

    Example:
        >>> encoder = Conformer(ConformerConfig(num_mels=20, dim=8, num_heads=2, ffn_dim=16, num_layers=1)).eval()
        >>> hidden, padding = encoder(torch.zeros(2, 61, 20), torch.tensor([61, 30]))
        >>> hidden.shape, (~padding).sum(1)
        (torch.Size([2, 14, 8]), tensor([14,  6]))
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.subsampling = ConvSubsampling(config.num_mels, config.dim, is_causal=config.is_causal_conv)
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, features: Float[Tensor, "batch time mel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch frame dim"], Bool[Tensor, "batch frame"]]:
        """Return hidden frames of complete recordings, and their padding mask (True = padding).

        Args:
            features: normalized features; values after a recording's length are ignored.
            lengths: feature frames of each recording; None: all of them. Fewer than seven give no frame.
        """
        batch, time, _ = features.shape
        if lengths is None:
            lengths = torch.full((batch,), time, device=features.device)
        if self.config.mask_conv:
            features = features.masked_fill(_padding_mask(lengths, time)[..., None], 0)
        x = self.subsampling(features)
        frames = x.shape[1]
        padding = _padding_mask(self.subsampling.lengths(lengths, as_released=not self.config.mask_conv), frames)
        hidden, _ = self._run(x, ~padding[:, None] & self._chunk_mask(frames, x.device), padding, None)
        return hidden, padding

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ConformerState:
        """Return the initial state of ``batch`` streams, by default on the device of the parameters.

        Raises:
            UserError: if the encoder cannot stream: without chunks, or with unbounded left context.
        """
        config, weight = self.config, self.norm.weight
        if config.chunk_size is None or config.left_chunks < 0:
            raise UserError(
                "a stream needs chunks with bounded left context: configure chunk_size and left_chunks >= 0, "
                f"got chunk_size={config.chunk_size}, left_chunks={config.left_chunks}"
            )
        zeros = torch.zeros(batch, device=device or weight.device, dtype=dtype or weight.dtype)
        cached = config.left_chunks * config.chunk_size
        kept = zeros.new_zeros(batch, config.num_layers, config.num_heads, cached, config.dim // config.num_heads)
        return ConformerState(
            zeros.new_zeros(batch, CONTEXT, config.num_mels),
            kept,
            kept.clone(),
            zeros.new_zeros(batch, config.num_layers, config.kernel_size - 1, config.dim),
            zeros.long(),
        )

    def stream(
        self,
        features: Float[Tensor, "batch time mel"],
        state: ConformerState,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch frame dim"], ConformerState]:
        """Return the ``chunk_size`` hidden frames of the next ``4 chunk_size`` feature frames, and the new state.

        Args:
            features: the next chunk of each stream, normalized.
            state: after the previous chunk.
            padding: True at feature frames after the end of a stream, in its last chunk; the row must be reset before
                reuse. :meth:`chunk_padding` gives the padding of the hidden frames.
            reset: True at rows that start a new stream with this chunk.

        Raises:
            UserError: if the chunk has a different number of frames.
        """
        if self.config.chunk_size is None or features.shape[1] != STRIDE * self.config.chunk_size:
            raise UserError(
                f"a stream with chunk_size={self.config.chunk_size} takes {STRIDE} times as many feature frames at "
                f"once, got {features.shape[1]}; fill the last chunk up and mark the rest as padding"
            )
        if reset is not None:
            state = state.replace_rows(reset, self.init_state(len(features), device=features.device))
        if padding is not None:
            features = features.masked_fill(padding[..., None], 0)
        continued = torch.cat([state.features, features], 1)
        x = self.subsampling.subsample(continued)
        padded = self.chunk_padding(features, padding)
        cached = state.keys.shape[3]
        known = torch.arange(cached, device=x.device) >= cached - state.count[:, None]
        allowed = torch.cat([known, ~padded], 1)[:, None]
        caches = [
            BlockCache(KeyValue(keys, values), conv_context)
            for keys, values, conv_context in zip(
                state.keys.unbind(1), state.values.unbind(1), state.conv_context.unbind(1), strict=True
            )
        ]
        hidden, kept = self._run(x, allowed, padded, caches)
        new = x.shape[1]  # as many frames leave the caches as enter
        return hidden, ConformerState(
            continued[:, -CONTEXT:],
            torch.stack([cache.attention.keys[:, :, new:] for cache in kept], 1),
            torch.stack([cache.attention.values[:, :, new:] for cache in kept], 1),
            torch.stack([cache.conv_context for cache in kept], 1),
            state.count + new,
        )

    def chunk_padding(
        self, features: Float[Tensor, "batch time mel"], padding: Bool[Tensor, "batch time"] | None = None
    ) -> Bool[Tensor, "batch frame"]:
        """Return the padding mask of the hidden frames that :meth:`stream` gives for these arguments."""
        frames = features.shape[1] // STRIDE
        if padding is None:
            return torch.zeros(len(features), frames, dtype=torch.bool, device=features.device)
        return _padding_mask(self.subsampling.lengths((~padding).sum(1)), frames)

    def _run(
        self,
        x: Float[Tensor, "batch frame dim"],
        allowed: Bool[Tensor, "#batch #frame key"],
        padding: Bool[Tensor, "batch frame"],
        caches: list[BlockCache] | None,
    ) -> tuple[Float[Tensor, "batch frame dim"], list[BlockCache]]:
        """Return the frames after all blocks, and the caches of a stream."""
        # Always in single precision: position 1599 and 1600 are equal in bfloat16.
        positions = self.dropout(relative_positions(x.shape[1], allowed.shape[-1], self.config.dim, x.device))
        x = self.dropout(x * self.config.dim**0.5)
        masked = padding if self.config.mask_conv else None
        kept = []
        for index, block in enumerate(self.blocks):
            earlier = None if caches is None else caches[index]
            x, cache = cast(ConformerBlock, block)(x, positions, allowed, masked, earlier)
            if earlier is not None:
                kept.append(cache)
        return self.norm(x), kept

    def _chunk_mask(self, frames: int, device: torch.device) -> Bool[Tensor, "#frame key"]:
        """Return True where a frame may attend to another by their chunks."""
        if self.config.chunk_size is None:
            return torch.ones(1, frames, dtype=torch.bool, device=device)
        chunk = torch.arange(frames, device=device) // self.config.chunk_size
        back = chunk[:, None] - chunk
        return (back >= 0) & (back <= self.config.left_chunks) if self.config.left_chunks >= 0 else back >= 0


def _padding_mask(lengths: Int[Tensor, " batch"], time: int) -> Bool[Tensor, "batch time"]:
    """Return True at and after the length of each row."""
    return torch.arange(time, device=lengths.device) >= lengths[:, None]
