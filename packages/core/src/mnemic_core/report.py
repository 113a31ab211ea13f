"""The memory report: whether and how a memory is used."""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.state import MemoryState, Slotted, SlotView


@dataclass(frozen=True)
class MemoryReport:
    """Statistics of a memory; undefined ones, such as the diversity of one slot, are None.

    Attributes:
        written: slots in use, over all rows.
        capacity: number of slots, over all rows.
        share_used: written / capacity, 0 to 1.
        diversity: mean cosine distance between written slots of a row, 0 (all equal: dead memory) to 2.
        age_mean: mean age of the written slots, in writes.
        age_max: largest age of a written slot, in writes.
        bytes_per_row: bytes of the state for one row of the batch.
        memory_mass: mean share of attention on memory, 0 to 1.
        read_entropy: mean entropy of the read weights relative to uniform weights on the written slots: 0 if one slot
            is read, 1 if all are read equally.
    """

    written: int
    capacity: int
    share_used: float
    diversity: float | None
    age_mean: float | None
    age_max: int | None
    bytes_per_row: float
    memory_mass: float | None
    read_entropy: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the statistics by name, for logging and plotting."""
        return asdict(self)

    def as_table(self) -> str:
        """Return one aligned line for each statistic."""
        rows = {
            "slots written": f"{self.written} of {self.capacity} ({self.share_used:.0%})",
            "slot diversity": _number(self.diversity),
            "age mean, max": f"{_number(self.age_mean)}, {_number(self.age_max)} writes",
            "bytes per row": _number(self.bytes_per_row),
            "attention on memory": _number(self.memory_mass),
            "read entropy": _number(self.read_entropy),
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


@torch.no_grad()
def memory_report(
    state: MemoryState,
    read_weights: Float[Tensor, "batch query slot"] | None = None,
    *,
    rows_are_slots: Bool[Tensor, " row"] | None = None,
) -> MemoryReport:
    """Measure how a memory is used; waits for the device.

    Args:
        state: a state with slots (:class:`~mnemic_core.state.Slotted`).
        read_weights: weight of each slot for each query; the rest to a sum of 1 is attention outside the memory.
        rows_are_slots: for a state whose rows are entries of one memory, such as the tracks of a tracker: True at
            rows in use. All rows are then reported as one memory, and ``read_weights`` has a batch of 1 and the slots
            of all rows in their order.

    Raises:
        TypeError: if the state has no slots.
        UserError: if the read weights do not fit the slots.

    Example:
        >>> from mnemic_core import WindowMemory
        >>> memory = WindowMemory(dim=2, capacity=4)
        >>> state = memory.write(memory.init_state(batch=1), torch.eye(2)[None])
        >>> report = memory_report(state)
        >>> report.written, report.capacity, report.diversity
        (2, 4, 1.0)
    """
    if not isinstance(state, Slotted):
        raise TypeError(f"a memory report needs a state with slots(), got {type(state).__name__}; give it that method")
    view = state.slots()
    if rows_are_slots is not None:
        in_use = view.valid & rows_are_slots[:, None]
        view = SlotView(view.values.flatten(0, 1)[None], in_use.flatten()[None], view.age.flatten()[None])
    if read_weights is not None and read_weights.shape[::2] != view.valid.shape:
        raise UserError(
            f"read_weights must be [batch query slot] with batch and slot {tuple(view.valid.shape)}, "
            f"got {tuple(read_weights.shape)}"
        )
    written, ages = int(view.valid.sum()), view.age[view.valid]
    return MemoryReport(
        written=written,
        capacity=view.valid.numel(),
        share_used=written / max(view.valid.numel(), 1),
        diversity=_diversity(view),
        age_mean=float(ages.double().mean()) if written else None,
        age_max=int(ages.max()) if written else None,
        bytes_per_row=state.nbytes / max(state.batch_size, 1),
        memory_mass=None if read_weights is None or not read_weights.numel() else float(read_weights.sum(-1).mean()),
        read_entropy=None if read_weights is None else _read_entropy(read_weights, view.valid),
    )


def _diversity(view: SlotView) -> float | None:
    unit = F.normalize(view.values.double(), dim=-1) * view.valid[..., None]
    number = view.valid.sum(1)
    # |sum of slots|^2 = sum over pairs, each twice, + sum of |slot|^2: no table of all pairs is needed.
    paired = unit.sum(1).square().sum(-1) - unit.square().sum((1, 2))
    distance = 1 - paired / (number * (number - 1)).clamp(min=1)
    has_pair = number > 1
    return float(distance[has_pair].mean().clamp(min=0)) if has_pair.any() else None


def _read_entropy(weights: Float[Tensor, "batch query slot"], valid: Bool[Tensor, "batch slot"]) -> float | None:
    total = weights.double().sum(-1)
    share = weights.double() / total.clamp(min=torch.finfo(torch.float64).tiny)[..., None]
    entropy = torch.special.entr(share).sum(-1)  # batch query
    largest = valid.sum(1).double().log()[:, None].expand_as(entropy)
    meaningful = (total > 0) & (largest > 0)
    return float((entropy / largest)[meaningful].mean().clamp(0, 1)) if meaningful.any() else None


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".rstrip("0").rstrip(".") if math.isfinite(value) else str(value)
