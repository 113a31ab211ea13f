"""The memory between encoder and decoder."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core import MemoryConfig, MemoryReport, MemoryState, ResidualMemory, SegmentMemory


class EncoderMemory(nn.Module):
    """Adapter of any memory to the encoder frames of recordings or their pieces.

    A machine replaces the frames by its output for both branches, as Conformer-NTM does (Carvalho and Abad,
    Interspeech 2023, arXiv:2309.13029); ``turing_improved`` adds what it reads to the frames instead. Another memory
    sees ``segment`` frames at a time; what it recalls is projected and added with a learned scale that starts at 0,
    so that training starts without an effect of the memory. All is computed in the precision of the parameters, under
    autocast too: half precision is too coarse for states accumulated over minutes.

    Args:
        dim: width of frames.
        memory: a machine, or a memory of a transformer block.
        segment: frames per segment of a memory, counted from the first frame of each call; ignored by machines.

    Example:
        >>> memory = EncoderMemory(8, MemoryConfig("slot_attention", {"num_slots": 4, "num_heads": 2}), segment=5)
        >>> hidden = torch.randn(2, 12, 8)
        >>> output, state = memory(hidden, memory.init_state(batch=2))
        >>> torch.equal(output, hidden), state.content.shape
        (True, torch.Size([2, 4, 8]))
    """

    def __init__(self, dim: int, memory: MemoryConfig, segment: int = 25) -> None:
        super().__init__()
        self.mechanism: SegmentMemory[Any]
        if memory.mechanism.is_machine:
            self.mechanism = memory.build(dim)
        else:
            self.mechanism = ResidualMemory(dim, memory, is_normed=False, is_gated=True, segment_length=segment)

    def init_state(self, batch: int, *, device: torch.device | str | None = None) -> MemoryState:
        """Return the state before the first frame of ``batch`` recordings."""
        first = next(self.parameters(), None)
        state: MemoryState = self.mechanism.init_state(
            batch, device=device or (first.device if first is not None else None)
        )
        return state

    def forward(
        self,
        hidden: Float[Tensor, "batch frame dim"],
        state: MemoryState,
        *,
        padding: Bool[Tensor, "batch frame"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch frame dim"], MemoryState]:
        """Return the frames with memory, and the new state.

        Args:
            hidden: frames of the encoder.
            state: after earlier frames of the same recordings.
            padding: True at frames to ignore; they do not enter the state.
            reset: True at rows that start a new recording.
        """
        first = next(self.parameters(), None)
        with torch.autocast(hidden.device.type, enabled=False):
            x = hidden if first is None else hidden.to(torch.promote_types(hidden.dtype, first.dtype))
            output, state = self.mechanism(x, state, padding=padding, reset=reset)
        return output.to(hidden.dtype), state

    def report(self, state: MemoryState) -> MemoryReport:
        """Return the report of the memory; a diversity of 0 means that all slots are equal."""
        return self.mechanism.report(state)
