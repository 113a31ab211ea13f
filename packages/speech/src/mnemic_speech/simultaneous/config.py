"""Settings of the simultaneous translator's network."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from mnemic_core import MemoryConfig
from mnemic_core.buffers.context_windows import SIDES, Side
from mnemic_core.errors import UserError, check_choice, check_heads, check_range
from mnemic_core.listing import lists_memories
from mnemic_speech.subsampling import STRIDE

Shift: TypeAlias = Literal["none", "left", "right", "center", "all"]
"""Which missing context of a window is replaced by frames on its other side."""

Positions: TypeAlias = Literal["relative", "sinusoidal"]


def shifted_sides(shift: Shift) -> tuple[Side, ...]:
    """Return the sides that a choice of shift names."""
    if shift == "all":
        return SIDES
    return () if shift == "none" else (shift,)


@dataclass(frozen=True)
class SegmentConfig:
    """Segments and contexts of the encoder, in feature frames of 10 ms; multiples of four.

    The commands released with the paper use no context on either side, its sibling (arXiv 2307.01381) 32 and 32, which
    is the default here: the paper's own sizes could not be read.

    Attributes:
        length: of a segment.
        left: context before it.
        right: context after it, which must have arrived before a segment is final.
        shift: of windows in training; the released code trains without.
    """

    length: int = 64
    left: int = 32
    right: int = 32
    shift: Shift = "none"

    def __post_init__(self) -> None:
        check_range(self, STRIDE, inf, "length")
        check_range(self, 0, inf, "left", "right")
        check_choice(Shift, shift=self.shift)
        if self.length % STRIDE or self.left % STRIDE or self.right % STRIDE:
            raise UserError(
                f"length, left and right must be multiples of {STRIDE}, got {self.length}, {self.left}, {self.right}"
            )

    @property
    def window(self) -> int:
        """Frames of a full window."""
        return self.left + self.length + self.right


@lists_memories(lambda entry: entry.fits_encoder and not entry.is_machine)
@dataclass(frozen=True)
class SegmentEncoderConfig:
    """Settings of the encoder; the defaults are those of the released code.

    Attributes:
        num_mels: width of the features.
        dim: width of frames.
        num_heads: attention heads; divides ``dim``.
        ffn_dim: hidden width of the feed-forward parts.
        num_layers: blocks.
        conv_channels: of the two convolutions.
        dropout: of frames and residual branches.
        attention_dropout: of attention weights.
        activation_dropout: of hidden units.
        segments: windows.
        memory: {memories}; ``summary_bank`` is the paper's, others are added to the frames of each segment.
        positions: ``relative`` to the query (paper), or ``sinusoidal`` from the start of the window.
        max_distance: largest distance of relative positions.
        suppression: see `mnemic_core.buffers.summary_bank.suppress_weak_attention`; None for none.
    """

    num_mels: int = 80
    dim: int = 256
    num_heads: int = 4
    ffn_dim: int = 2048
    num_layers: int = 12
    conv_channels: int = 256
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    memory: MemoryConfig = field(default_factory=lambda: MemoryConfig("summary_bank", {"capacity": 3}))
    positions: Positions = "relative"
    max_distance: int = 16
    suppression: float | None = 0.5

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_mels", "dim", "ffn_dim", "num_layers", "conv_channels", "max_distance")
        check_range(self, 0, 1, "dropout", "attention_dropout", "activation_dropout")
        check_choice(Positions, positions=self.positions)
        check_heads(self.dim, self.num_heads)
        self.memory.require("fits a segment encoder", lambda entry: entry.fits_encoder and not entry.is_machine)
        if self.positions == "sinusoidal" and self.dim < 4:
            raise UserError(f"sinusoidal positions need dim of at least 4, got {self.dim}")


@dataclass(frozen=True)
class SimultaneousConfig:
    """Settings of the network; the defaults are those of the released code.

    Attributes:
        vocab_size: number of tokens; the last one is both start and end of a sentence.
        encoder: the segment encoder, with its memory.
        decoder_layers: blocks of the decoder, which has the encoder's width, heads and dropout.
        decoder_ffn_dim: hidden width of its feed-forward parts.
        ratio: encoder frames between two decisions to read or write; 8 are 320 ms.
        ctc_weight: share of the loss of a CTC branch on the encoder's frames, below 1; the paper has none. It helps
            where the text is a transcript and data is scarce.
    """

    vocab_size: int
    encoder: SegmentEncoderConfig = field(default_factory=SegmentEncoderConfig)
    decoder_layers: int = 6
    decoder_ffn_dim: int = 2048
    ratio: int = 8
    ctc_weight: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "decoder_layers", "decoder_ffn_dim", "ratio")
        if not 0 <= self.ctc_weight < 1:
            raise UserError(f"ctc_weight must be at least 0 and below 1, got {self.ctc_weight}")
        check_range(self, 3, inf, "vocab_size")

    @property
    def sos_eos_id(self) -> int:
        """Token that begins and ends a sentence."""
        return self.vocab_size - 1
