"""A memory in a residual branch, for language models and encoders."""

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

    ``none`` adds nothing and has no weights. The state is that of the memory.

    Args:
        dim: width of tokens.
        memory: one that a block has instead of attention or next to it.
        is_normed: apply layer normalization before the memory.
        is_gated: multiply by a learned scale that starts at 0, so that training starts without memory, and project
            without a bias.
        segment_length: tokens per segment of the memory, counted from the first of each call; None: all.
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
        """Return the initial state of the memory."""
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
            # Outputs at padding are undefined and may be NaN, which the gradient of the projection would spread.
            recalled = recalled.masked_fill(padding[..., None], 0)
        added = self.projection(recalled)
        if self.scale is not None:
            added = self.scale * added
        return x + self.dropout(added), state
