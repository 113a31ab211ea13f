"""Settings of a MATR network."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError, check_heads, check_range
from mnemic_core.listing import lists_memories
from mnemic_core.mechanism import Sizes

QUEUE = "segment_queue"


@lists_memories(lambda entry: entry.fits_encoder)
@dataclass(frozen=True)
class MatrConfig:
    """Settings of the network; the defaults are the paper's THUMOS14 model.

    Args:
        modalities: widths of the parts of a feature vector, each of which is projected to its share of ``dim``:
            RGB and optical flow in the paper; one number for a single kind of feature.
        num_classes: action classes, without the background.
        dim: width of tokens; a multiple of 4.
        ffn_dim: hidden width of every feed-forward block.
        encoder_layers: depth of the segment encoder.
        encoder_heads: its attention heads.
        decoder_layers: depth of the end decoder and of the start decoder.
        decoder_heads: their attention heads.
        window: frames of a window (a segment).
        num_queries: instances that a window can give.
        capacity: past windows in memory; the start of an action lies in one of ``capacity + 2`` regions, each a window
            long except the last.
        memory: memory of past windows (``segment_queue`` is the paper's): {memories}.
        memory_stride: distance of the frames of a window that the start decoder sees, in memory and of the current
            window; divides ``window``.
        keeps_newest: count this stride from the newest frame of each window; the released code counts from the oldest,
            so that it leaves out the newest frame.
        masks_empty: leave unused memory out of attention; the released code attends to zeros there.
        standardizes: normalize features by mean and deviation of the training data, which are stored with the weights.
        dropout: of feed-forward blocks and residual branches.
        attention_dropout: of the attention weights. Above 0 it makes training on a CPU several times slower, where
            no fused attention has dropout.
    """

    modalities: tuple[int, ...] = (2048, 2048)
    num_classes: int = 20
    dim: int = 1024
    ffn_dim: int = 2048
    encoder_layers: int = 3
    encoder_heads: int = 8
    decoder_layers: int = 5
    decoder_heads: int = 4
    window: int = 64
    num_queries: int = 10
    capacity: int = 7
    memory: MemoryConfig = field(default_factory=lambda: MemoryConfig(QUEUE))
    memory_stride: int = 2
    keeps_newest: bool = False
    masks_empty: bool = True
    standardizes: bool = False
    dropout: float = 0.3
    attention_dropout: float = 0.3

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "modalities", "num_classes", "dim", "ffn_dim", "encoder_layers", "encoder_heads")
        check_range(self, 1, inf, "decoder_layers", "decoder_heads", "num_queries", "capacity", "memory_stride")
        check_range(self, 2, inf, "window")
        check_range(self, 0, 1, "dropout", "attention_dropout")
        check_heads(self.dim, self.encoder_heads)
        check_heads(self.dim, self.decoder_heads)
        if self.window % self.memory_stride:
            raise UserError(f"memory_stride must divide window, got {self.memory_stride} and {self.window}")
        if self.dim % 4 or not self.modalities or self.dim % len(self.modalities):
            raise UserError(f"dim must be a multiple of 4 and of the modalities, got {self.dim} and {self.modalities}")
        self.memory.require("can follow an encoder", lambda entry: entry.fits_encoder)
        sizes = {"capacity", "segment_length", "stride", "sample_from"} & self.memory.options.keys()
        if self.memory.name == QUEUE and sizes:
            raise UserError(
                f"{', '.join(sorted(sizes))} of memory {QUEUE} follow from capacity, window and memory_stride: "
                "set those of the network"
            )

    @property
    def num_features(self) -> int:
        """Width of a feature vector."""
        return sum(self.modalities)

    @property
    def num_regions(self) -> int:
        """Start regions: the current window, those in memory, and everything older."""
        return self.capacity + 2

    @property
    def sized_memory(self) -> MemoryConfig:
        """The memory, holding about as many frames as the paper's queue unless its options say otherwise."""
        if self.memory.name == QUEUE:
            sample_from = "newest" if self.keeps_newest else "oldest"
            sized: dict[str, Any] = {"capacity": self.capacity, "segment_length": self.window}
            sized |= {"stride": self.memory_stride, "sample_from": sample_from}
        else:
            stored = self.capacity * self.window
            sized = self.memory.mechanism.sized(Sizes(self.dim, stored, self.window, num_heads=self.decoder_heads))
        return MemoryConfig(self.memory.name, {**sized, **self.memory.options})
