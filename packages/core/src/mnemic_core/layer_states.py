"""The states of several memories, of any classes, as one state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.state import MemoryState, SlotView, qualified_name, state_class


@dataclass(frozen=True)
class LayerStates(MemoryState):
    """One state for each layer of a stack; layers may have different memories of different sizes.

    Attributes:
        layers: the states, first layer first.

    Example:
        >>> from mnemic_core import RingBuffer
        >>> states = LayerStates((RingBuffer.empty(1, 2, 4), RingBuffer.empty(1, 8, 4)))
        >>> len(states), states[1].items.shape
        (2, torch.Size([1, 8, 4]))
        >>> list(states.tensors())[0]
        'layers.0:mnemic_core.buffers.ring_buffer.RingBuffer:items'
    """

    layers: tuple[MemoryState, ...]

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    def __iter__(self) -> Iterator[MemoryState]:
        """Iterate over the states, first layer first."""
        return iter(self.layers)

    def __getitem__(self, index: int) -> MemoryState:
        """Return the state of one layer."""
        return self.layers[index]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name, which includes the class of its layer, so that files can be read again."""
        return {
            f"layers.{index}:{qualified_name(type(state))}:{name}": tensor
            for index, state in enumerate(self.layers)
            for name, tensor in state.tensors().items()
        }

    @classmethod
    def from_dict(cls, tensors: Mapping[str, Tensor]) -> "LayerStates":
        """Build the states from the tensors of `to_dict`.

        Raises:
            UserError: if a name lacks layer or class, a class is unknown, or a tensor is missing.
        """
        layers: dict[tuple[int, str], dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            layer, _, rest = name.removeprefix("layers.").partition(":")
            # Older files have the bare name of the class, and a dot behind it.
            kind, _, field = rest.partition(":" if ":" in rest else ".")
            if not (layer.isdecimal() and field):
                raise UserError(f"{name!r} is no tensor of LayerStates; load it with the class that saved it")
            layers.setdefault((int(layer), kind), {})[field] = tensor
        ordered = sorted(layers)
        if [index for index, _ in ordered] != list(range(len(ordered))):
            raise UserError(f"layers must be 0..{len(ordered) - 1}, got {[index for index, _ in ordered]}")
        return cls(tuple(state_class(kind).from_dict(layers[index, kind]) for index, kind in ordered))

    def slots(self) -> SlotView:
        """Return the slots of all layers together; narrower ones are padded with zeros."""
        views = [state.slots() for state in self.layers if hasattr(state, "slots")]
        width = max((view.values.shape[-1] for view in views), default=0)
        return SlotView(
            torch.cat([F.pad(cast(Tensor, view.values), (0, width - view.values.shape[-1])) for view in views], dim=1),
            torch.cat([view.valid for view in views], dim=1),
            torch.cat([view.age for view in views], dim=1),
        )
