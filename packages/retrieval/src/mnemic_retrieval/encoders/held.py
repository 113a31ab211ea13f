"""Networks that keep the weights of a file: they neither learn nor go into checkpoints."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from mnemic_core.tensor_file import checksum

Self = TypeVar("Self", bound="Held")


class Held(nn.Module):
    """Holds a network that is moved with it, but is no part of its parameters and its state.

    Args:
        network: with its weights, which stay as they are; put into evaluation mode.

    Attributes:
        digest: checksum of the weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)  # in a tuple torch does not find it
        self.digest = checksum(network.state_dict())[:16]

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self._held[0]

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert it along with its owner."""
        cast(Any, self.network)._apply(fn, recurse)
        return cast(Self, cast(Any, super())._apply(fn, recurse))


class HoldingEncoder(nn.Module):
    """Base of encoders whose network learns, or keeps the weights of a file.

    Attributes:
        network: as it learns, or `Held`.
    """

    network: nn.Module

    @property
    def is_held(self) -> bool:
        """Whether it keeps the weights of a file."""
        return isinstance(self.network, Held)

    @property
    def digest(self) -> str:
        """Checksum of weights that it keeps; empty if it learns."""
        return self.network.digest if isinstance(self.network, Held) else ""

    @property
    def bare(self) -> Any:
        """The network itself, held or not."""
        return self.network.network if isinstance(self.network, Held) else self.network

    def gradients(self) -> AbstractContextManager[object]:
        """Return a context in which the network runs: without gradients if it is held."""
        return torch.no_grad() if self.is_held else nullcontext()
