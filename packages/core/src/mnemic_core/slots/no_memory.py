"""The memory that remembers nothing, as a baseline."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import ReadWriteMemory
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class NoMemoryState(MemoryState):
    """A state without content, which counts the written values."""

    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return no slots."""
        nothing = self.count.new_zeros(self.batch_size, 0)
        return SlotView(nothing[..., None].float(), nothing.bool(), nothing)


class NoMemory(ReadWriteMemory[NoMemoryState]):
    """Recalls the query itself: the ablation without memory.

    Args:
        dim: width of queries and values.

    Example:
        >>> memory, query = NoMemory(dim=2), torch.randn(1, 3, 2)
        >>> recalled, state = memory(query, memory.init_state(batch=1))
        >>> torch.equal(recalled, query)
        True
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, detach="stored")

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> NoMemoryState:
        """Return counters of 0; ``dtype`` has no effect."""
        return NoMemoryState(torch.zeros(batch, device=device, dtype=torch.long))

    def read(self, query: Float[Tensor, "batch time dim"], state: NoMemoryState) -> Float[Tensor, "batch time dim"]:
        """Return the query."""
        return query

    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: NoMemoryState
    ) -> Float[Tensor, "batch time 0"]:
        """Return weights over no slots."""
        return query[..., :0]

    def write(
        self,
        state: NoMemoryState,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> NoMemoryState:
        """Return the state with the values counted."""
        added = values.shape[1] if padding is None else (~padding).sum(1)
        return NoMemoryState(state.count + added)


NONE = Mechanism(
    name="none",
    cls=NoMemory,
    place="beside",
    is_read_write=True,
    paper="the ablation without memory",
    arxiv=None,
    objective=("ablation",),
    representation="none",
    integration=("none",),
    read="the query itself",
    write="nothing",
    forget="everything, at once",
    capacity="0",
    cost="0",
    bytes_per_row="8",
)
