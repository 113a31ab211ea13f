"""A first-in-first-out tensor of fixed size for each row, used by all windowed memories."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.layers import tokens_first
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class RingBuffer(MemoryState):
    """The latest ``capacity`` items of every row; a new item overwrites the oldest one of its row.

    Shapes never change and control flow does not depend on data, so one compiled graph serves every step. Slots are
    filled from index 0 upwards, then cyclically.

    Attributes:
        items: content of the slots; zeros where nothing was written.
        cursor: slot of the next item.
        count: slots in use.

    Example:
        >>> ring = RingBuffer.empty(1, 3).append(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        >>> ring.ordered()
        tensor([[2., 3., 4.]])
    """

    items: Shaped[Tensor, "batch capacity *item"]
    cursor: Int[Tensor, " batch"]
    count: Int[Tensor, " batch"]

    @classmethod
    def empty(
        cls, batch: int, capacity: int, *item_shape: int, device: Device = None, dtype: torch.dtype | None = None
    ) -> "RingBuffer":
        """Return an empty ring of at least one slot for items of a shape, none for scalars."""
        check_at_least(1, "use NoMemory to keep nothing", capacity=capacity)
        return cls(
            torch.zeros(batch, capacity, *item_shape, device=device, dtype=dtype),
            torch.zeros(batch, device=device, dtype=torch.long),
            torch.zeros(batch, device=device, dtype=torch.long),
        )

    @property
    def capacity(self) -> int:
        """Items that a row can hold."""
        return self.items.shape[1]

    def append(
        self, items: Shaped[Tensor, "batch time *item"], padding: Bool[Tensor, "batch time"] | None = None
    ) -> "RingBuffer":
        """Return the ring after the items of a segment, oldest first.

        Args:
            items: any number; of more than the capacity only the latest are kept.
            padding: True at items to leave out, anywhere in the row.
        """
        batch, time = items.shape[:2]
        if time == 0:
            return self
        added = self.count.new_full((batch,), time) if padding is None else (~padding).sum(1)
        # Only the latest items that fit are written, so that no two go to the same slot, and the cost is that of the
        # segment, not of the capacity. Ranks number the items of a row without padding; where there are fewer than
        # `number`, ranks are negative and the slots keep their content.
        number = min(time, self.capacity)
        rank = added[:, None] - number + torch.arange(number, device=self.cursor.device)  # batch number
        slot = (self.cursor[:, None] + rank) % self.capacity
        source = rank.clamp(min=0)
        if padding is not None:
            source = tokens_first(padding).gather(1, source)
        written = _with_item_axes(rank >= 0, items)
        incoming = torch.where(written, _take(items.to(self.items.dtype), source), _take(self.items, slot))
        return RingBuffer(
            self.items.scatter(1, _with_item_axes(slot, items).expand_as(incoming), incoming),
            (self.cursor + added) % self.capacity,
            (self.count + added).clamp(max=self.capacity),
        )

    def valid(self) -> Bool[Tensor, "batch capacity"]:
        """Return True at slots in use."""
        return self._slot_index() < self.count[:, None]

    def ordered(self) -> Shaped[Tensor, "batch capacity *item"]:
        """Return the items oldest first; zeros follow the first ``count`` of a row."""
        return _take(self.items, (self._slot_index() + (self.cursor - self.count)[:, None]) % self.capacity)

    def age(self) -> Int[Tensor, "batch capacity"]:
        """Return how many items followed that of each slot; -1 where nothing was written."""
        return torch.where(self.valid(), (self.cursor[:, None] - 1 - self._slot_index()) % self.capacity, -1)

    def slots(self) -> SlotView:
        """Return the slots with items flattened to vectors."""
        return SlotView(self.items.reshape(self.batch_size, self.capacity, -1), self.valid(), self.age())

    def _slot_index(self) -> Int[Tensor, " capacity"]:
        return torch.arange(self.capacity, device=self.cursor.device)


def _take(
    items: Shaped[Tensor, "batch capacity *item"], index: Int[Tensor, "batch number"]
) -> Shaped[Tensor, "batch number *item"]:
    """Return ``items[row, index[row, i]]`` for items of any shape."""
    return items.gather(1, _with_item_axes(index, items).expand(-1, -1, *items.shape[2:]))


def _with_item_axes(
    flags: Shaped[Tensor, "batch number"], items: Shaped[Tensor, "batch capacity *item"]
) -> Shaped[Tensor, "batch number *ones"]:
    """Append an axis of length 1 for each axis of an item."""
    return flags.view(*flags.shape, *[1] * (items.ndim - 2))
