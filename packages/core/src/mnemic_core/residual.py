"""The host of a memory in a residual path, the same for language models and for what stands behind an encoder."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core.memory import SegmentMemory
from mnemic_core.memory_config import MemoryConfig
from mnemic_core.report import MemoryReport
from mnemic_core.slots.no_memory import NoMemory
from mnemic_core.state import Device, MemoryState
from mnemic_core.training.segments import run_in_segments


class ResidualMemory(SegmentMemory[MemoryState]):
    """Adds to each token what a memory recalls: ``x + scale * projection(memory(norm(x)))``.

    ``none`` adds nothing and has no weights.

    State: that of the memory.

    Args:
        dim: width of tokens.
        memory: a memory that stands beside attention or instead of it.
        is_normed: normalise the tokens that the memory sees.
        is_gated: multiply by a learned scale that starts at 0, so that training begins as without memory, and project
            without a bias.
        segment_length: tokens that the memory sees at once, counted from the first of each call; None: all of them.
        dropout: of what is added.

    Example:
        >>> host = ResidualMemory(8, MemoryConfig("window"), is_gated=True)
        >>> x = torch.randn(2, 5, 8)
        >>> y, state = host(x, host.init_state(batch=2))
        >>> torch.equal(y, x), state.count.tolist()
        (True, [5, 5])
    """

    def __init__(
        self,
        dim: int,
        memory: MemoryConfig,
        *,
        is_normed: bool = True,
        is_gated: bool = False,
        segment_length: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        hosted = memory.build(dim)
        super().__init__(dim, hosted.detach)
        self.memory = hosted
        self.segment_length = segment_length
        self.adds_nothing = isinstance(hosted, NoMemory)
        if self.adds_nothing:
            return
        self.norm = nn.LayerNorm(dim) if is_normed else nn.Identity()
        self.projection = nn.Linear(dim, dim, bias=not is_gated)  # some memories have no parameters of their own
        self.scale = nn.Parameter(torch.zeros(())) if is_gated else None
        self.dropout = nn.Dropout(dropout)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> MemoryState:
        """Return a fresh state of the memory."""
        state: MemoryState = self.memory.init_state(batch, device=device, dtype=dtype)
        return state

    def report(self, state: MemoryState) -> MemoryReport:
        """Return how the memory is used."""
        return self.memory.report(state)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: MemoryState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], MemoryState]:
        if self.adds_nothing:
            return x, self.memory(x, state, padding=padding)[1]
        recalled, state = run_in_segments(self.memory, self.norm(x), state, self.segment_length, padding=padding)
        if padding is not None:
            # What a memory says at padding has no meaning, not even that it is a number.
            recalled = recalled.masked_fill(padding[..., None], 0)
        added = self.projection(recalled)
        if self.scale is not None:
            added = self.scale * added
        return x + self.dropout(added), state
