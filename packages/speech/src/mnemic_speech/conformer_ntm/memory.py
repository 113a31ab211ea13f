"""The memory between encoder and decoder, in one form for all that can stand there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core import MemoryConfig, MemoryReport, MemoryState
from mnemic_core.training import join_segments, run_segments, split_segments


class EncoderMemory(nn.Module):
    """Encoder frames in, frames with memory out, and the state that goes from one recording or piece to the next.

    A machine replaces the frames by its output for both branches, as Conformer-NTM does (Carvalho and Abad,
    Interspeech 2023, arXiv:2309.13029); ``turing_improved`` adds what it reads to the frames instead. Another memory
    sees ``segment`` frames at a time; what it recalls is projected and added with a learned scale that starts at 0,
    so that training begins as without memory. Everything here is computed in the precision of the
    parameters, under autocast too: what a memory accumulates over minutes does not fit into half precision.

    Args:
        dim: width of frames.
        memory: a machine, or a memory that stands beside attention or instead of it.
        segment: frames that a memory sees at once, counted from the first frame of each call; a machine steps.

    Example:
        >>> memory = EncoderMemory(8, MemoryConfig("slot_attention", {"num_slots": 4, "num_heads": 2}), segment=5)
        >>> hidden = torch.randn(2, 12, 8)
        >>> output, state = memory(hidden, memory.init_state(batch=2))
        >>> torch.equal(output, hidden), state.content.shape
        (True, torch.Size([2, 4, 8]))
    """

    def __init__(self, dim: int, memory: MemoryConfig, segment: int = 25) -> None:
        super().__init__()
        self.segment = segment
        self.mechanism = memory.build(dim)
        self.is_machine = memory.mechanism.place == "machine"
        self.is_none = memory.name == "none"
        if not self.is_machine and not self.is_none:
            self.output = nn.Linear(dim, dim, bias=False)  # some memories have no parameters of their own
            self.scale = nn.Parameter(torch.zeros(()))

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
            state: what earlier frames of the same recordings left.
            padding: True at frames to ignore; the state does not see them.
            reset: True at rows that begin a new recording.
        """
        if self.is_none:
            return hidden, self.mechanism(hidden, state, padding=padding, reset=reset)[1]
        with torch.autocast(hidden.device.type, enabled=False):
            x = hidden.to(torch.promote_types(hidden.dtype, next(self.parameters()).dtype))
            if self.is_machine:
                output, state = self.mechanism(x, state, padding=padding, reset=reset)
            else:
                recalled, state = self._recall(x, state, padding, reset)
                output = x + self.scale * self.output(recalled)
        return output.to(hidden.dtype), state

    def report(self, state: MemoryState) -> MemoryReport:
        """Return how the memory is used; a diversity of 0 means that all slots are alike."""
        return self.mechanism.report(state)

    def _recall(
        self, x: Tensor, state: MemoryState, padding: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, MemoryState]:
        segments, paddings = split_segments(x, self.segment, padding=padding)
        resets = None
        if reset is not None:
            resets = torch.stack([reset, *[torch.zeros_like(reset)] * (len(segments) - 1)])
        outputs, state = run_segments(self.mechanism, segments, state, paddings=paddings, reset=resets)
        recalled = join_segments(outputs, x.shape[1])
        # What a memory says at padding has no meaning, not even that it is a number.
        return recalled if padding is None else recalled.masked_fill(padding[..., None], 0), state
