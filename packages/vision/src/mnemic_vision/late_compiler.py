"""Importing torchvision and timm without torch's compiler.

Both import a function of ``torch._dynamo`` at import time: torchvision to ask whether RoI align can be compiled, timm
to exclude one class from compilation. Importing the compiler takes longer than both together, and nothing here
compiles.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_NAMES = ("torch._dynamo", "torch._dynamo.utils")


class _Placeholder(ModuleType):
    """Module with versions of the two functions that import the compiler when called; other names import it at once."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # only a package may have submodules
            return []
        if name.startswith("__"):
            raise AttributeError(name)
        _remove()
        return getattr(import_module(self.__name__), name)


@contextmanager
def late_compiler() -> Iterator[None]:
    """Defer the import of torch's compiler by packages imported in this block until they use it.

    Example:
        >>> with late_compiler():
        ...     from torchvision.ops import box_iou
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    dynamo, utils = (_Placeholder(name) for name in _NAMES)
    vars(dynamo)["disable"] = _disable
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules.update(zip(_NAMES, (dynamo, utils), strict=True))
    try:
        yield
    finally:
        _remove()


def _remove() -> None:
    for name in _NAMES:
        if isinstance(sys.modules.get(name), _Placeholder):
            del sys.modules[name]


def _disable(function: Callable[..., Any], recursive: bool = True, *, reason: str | None = None) -> Callable[..., Any]:
    """Do as ``torch._dynamo.disable``, but on the first call; torch uses this form internally."""
    disabled: Callable[..., Any] = import_module("torch._compile")._disable_dynamo(function, recursive)
    return disabled


def _is_compile_supported(device: str) -> bool:
    supported: bool = import_module("torch._dynamo.utils").is_compile_supported(device)
    return supported
