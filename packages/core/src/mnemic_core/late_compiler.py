"""Importing torchvision and timm without torch's compiler.

Both take a function of ``torch._dynamo`` while they are imported: torchvision asks whether RoI align could be compiled,
timm keeps the compiler out of one class. Importing the compiler takes longer than both, and nothing here compiles.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_NAMES = ("torch._dynamo", "torch._dynamo.utils")


class _StandIn(ModuleType):
    """Has the two functions, in forms that import the compiler when they are called; for anything else it gives way."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # what has one may have modules in it
            return []
        if name.startswith("__"):
            raise AttributeError(name)
        _give_way()
        return getattr(import_module(self.__name__), name)


@contextmanager
def late_compiler() -> Iterator[None]:
    """Import packages in the block whose functions import torch's compiler when they use it, and not before.

    Example:
        >>> with late_compiler():
        ...     from torchvision.ops import box_iou
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    dynamo, utils = (_StandIn(name) for name in _NAMES)
    vars(dynamo)["disable"] = _disable
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules.update(zip(_NAMES, (dynamo, utils), strict=True))
    try:
        yield
    finally:
        _give_way()


def _give_way() -> None:
    for name in _NAMES:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disable(function: Callable[..., Any], recursive: bool = True, *, reason: str | None = None) -> Callable[..., Any]:
    """Do as ``torch._dynamo.disable``, once the function is called; torch has this form for itself."""
    disabled: Callable[..., Any] = import_module("torch._compile")._disable_dynamo(function, recursive)
    return disabled


def _is_compile_supported(device: str) -> bool:
    supported: bool = import_module("torch._dynamo.utils").is_compile_supported(device)
    return supported
