"""An exponential moving average per row: the long-term memory of a track."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.layers import or_no_padding
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, ReadWriteMemory
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class ExponentialState(MemoryState):
    """The moving average of every row.

    Attributes:
        long: the average; zeros before the first write.
        count: values written so far.
    """

    long: Float[Tensor, "batch dim"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return one slot per row, as old as the row."""
        return SlotView.of_equal_age(self.long[:, None], self.count)


class ExponentialMemory(ReadWriteMemory[ExponentialState]):
    """Exponential moving average of the written values, which every query of the row recalls.

    It starts at the first value of the row; each later one updates it: ``long <- (1 - decay) * long + decay * value``.
    In MeMOTR (Gao and Wang, ICCV 2023, arXiv:2307.15700, section 3.3) rows are tracks.

    Args:
        dim: width of the values.
        decay: weight of a new value, in (0, 1]; for small ones the half-life is ``log(2) / decay`` writes.
        detach: ``"stored"`` (the paper) detaches the memory, ``"never"`` does not.

    Example:
        >>> memory = ExponentialMemory(dim=1, decay=0.5)
        >>> state = memory.write(memory.init_state(batch=1), torch.tensor([[[8.0], [4.0], [2.0]]]))
        >>> state.long
        tensor([[4.]])
    """

    def __init__(self, dim: int, *, decay: float = 0.01, detach: Detach = "stored") -> None:
        super().__init__(dim, detach)
        if not 0 < decay <= 1:
            raise UserError(f"decay must be above 0 and at most 1, got {decay}")
        self.decay = decay

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> ExponentialState:
        """Return empty rows; keep ``dtype`` at float32, half precision loses small decays."""
        return ExponentialState(
            torch.zeros(batch, self.dim, device=device, dtype=dtype),
            torch.zeros(batch, device=device, dtype=torch.long),
        )

    def read(self, query: Float[Tensor, "batch time dim"], state: ExponentialState) -> Float[Tensor, "batch time dim"]:
        """Return the vector of the row for each query; zeros before the first write."""
        return self._stored(state.long).to(query.dtype)[:, None].expand_as(query)

    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: ExponentialState
    ) -> Float[Tensor, "batch time 1"]:
        """Return weight 1 on the only slot, 0 before the first write."""
        return (state.count > 0).to(query.dtype)[:, None, None].expand(-1, query.shape[1], 1)

    def write(
        self,
        state: ExponentialState,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> ExponentialState:
        """Return the state after the values of a segment; a row without any stays bit-identical."""
        padding = or_no_padding(padding, values)
        rank = (~padding).cumsum(1)  # 1 at the first value that is not padding
        added = rank[:, -1:] if values.shape[1] else torch.zeros_like(state.count)[:, None]
        is_first_ever = (rank == 1) & (state.count == 0)[:, None]
        # All n updates at once: the value of rank r has the weight decay (1 - decay)^(n - r). Exponents are at least 0,
        # so that nothing overflows, however long the segment.
        kept = torch.tensor(1 - self.decay, device=values.device, dtype=state.long.dtype)
        weight = kept ** (added - rank)
        weight = torch.where(is_first_ever, weight, self.decay * weight).masked_fill(padding, 0)
        values = self._stored(values).to(state.long.dtype).masked_fill(padding[..., None], 0)  # padding may be NaN
        long = self._stored(state.long) * kept**added + (weight[..., None] * values).sum(1)
        return ExponentialState(long, state.count + added[:, 0])


EXPONENTIAL = Mechanism(
    name="exponential",
    cls=ExponentialMemory,
    place="beside",
    is_read_write=True,
    paper="MeMOTR: Long-Term Memory-Augmented Transformer for Multi-Object Tracking (ICCV 2023)",
    arxiv="2307.15700",
    objective=("context extension", "adaptation"),
    representation="state-based",
    integration=("attention fusion", "gated control"),
    read="the vector of the row",
    write="exponential average",
    forget="exponential decay with every write",
    capacity="1 vector",
    cost="O(T d)",
    bytes_per_row="4 * dim + 8",
    small={"decay": 0.3},
)
