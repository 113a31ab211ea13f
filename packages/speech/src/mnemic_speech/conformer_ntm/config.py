"""Settings of a Conformer-NTM."""

from dataclasses import dataclass, field
from math import inf

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError, check_range
from mnemic_core.listing import lists_memories
from mnemic_speech.conformer import ConformerConfig as ConformerConfig  # re-exported for builders of networks


@lists_memories(lambda entry: entry.fits_encoder)
@dataclass(frozen=True)
class ConformerNtmConfig:
    """Settings of the network; the defaults are the paper's model with the memory that the paper describes.

    Args:
        vocab_size: number of tokens; 0 is the CTC blank, the last one both start and end of a sentence.
        encoder: the Conformer.
        decoder_layers: blocks of the transformer decoder, which has the encoder's width, heads and dropout.
        decoder_ffn_dim: hidden width of the decoder's feed-forward blocks.
        memory: between encoder and decoder: {memories}; ``turing_paper``, ``turing_release`` and ``turing_improved``
            are the Turing machines of the paper, of its code and of this project.
        memory_segment: frames (of 40 ms) per segment of the memory; ignored by machines, which step through frames.
        ctc_weight: share of the CTC loss, in [0, 1]; 0 builds no CTC branch and 1 no decoder.
        label_smoothing: probability mass of the other tokens in the decoder's targets.
    """

    vocab_size: int
    encoder: ConformerConfig = field(default_factory=ConformerConfig)
    decoder_layers: int = 6
    decoder_ffn_dim: int = 2048
    memory: MemoryConfig = field(default_factory=lambda: MemoryConfig("turing_paper"))
    memory_segment: int = 25
    ctc_weight: float = 0.3
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        self.memory.require("can follow an encoder", lambda entry: entry.fits_encoder)
        if self.vocab_size < 3:
            raise UserError(f"vocab_size must be at least 3 (blank, one token, end of sentence), got {self.vocab_size}")
        if not 0 <= self.ctc_weight <= 1 or not 0 <= self.label_smoothing < 1:
            raise UserError(
                "ctc_weight must be between 0 and 1 and label_smoothing at least 0 and below 1, "
                f"got {self.ctc_weight} and {self.label_smoothing}"
            )
        check_range(self, 1, inf, "memory_segment", "decoder_layers", "decoder_ffn_dim")
        chunk = self.encoder.chunk_size
        if chunk is not None and self.takes_segments and chunk % self.memory_segment:
            raise UserError(
                f"chunk_size must be a multiple of memory_segment, or a stream would cut segments elsewhere than a "
                f"complete recording; got chunk_size={chunk}, memory_segment={self.memory_segment}"
            )

    @property
    def takes_segments(self) -> bool:
        """Whether the memory processes segments of frames, so that their boundaries matter."""
        return self.memory.name != "none" and not self.memory.mechanism.is_machine

    @property
    def sos_eos_id(self) -> int:
        """Token that begins and ends a sentence."""
        return self.vocab_size - 1
