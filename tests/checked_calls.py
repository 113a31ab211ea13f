"""The type checker of the tests: beartype, which is asked once about calls that look the same to it.

A network calls the same functions with the same shapes over and over: checking each was a tenth of what its tests cost.
Whether an annotation holds depends on nothing but classes, shapes, data types, and values of plain arguments.
"""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from beartype import beartype
from torch import Tensor, nn

Checked = TypeVar("Checked", bound=Callable[..., Any])
PLAIN = (type(None), bool, int, str, torch.dtype, torch.device, torch.Size)
LONG = 16  # items of a container or letters of a text; longer ones are checked in every call
MOST = 1000  # calls of a function that are remembered


def checked(function: Checked) -> Checked:
    """Return the function with every argument checked, unless a call that looked the same has passed."""
    check: Callable[..., Any] | None = None  # made in the first call: most functions get none in a process of the tests
    passed: set[Hashable] = set()  # jaxtyping hands over functions without a body: there is no result to keep

    @wraps(function)
    def once(*args: Any, **kwargs: Any) -> None:
        nonlocal check
        look: Hashable = (*map(appearance, args), *kwargs, *map(appearance, kwargs.values()))
        try:
            has_passed = look in passed
        except TypeError:  # it cannot be hashed: the appearance of something in it is not known
            look = has_passed = None
        if not has_passed:
            check = check or beartype(function)
            check(*args, **kwargs)
        if look is not None:
            if len(passed) == MOST:
                passed.clear()  # values that never come twice
            passed.add(look)

    return once


def appearance(value: Any, depth: int = 2) -> Any:
    """Return all that an annotation may depend on, or something that cannot be hashed where that would be much."""
    kind = type(value)
    if kind is Tensor or kind is nn.Parameter:
        return kind, value.shape, value.dtype
    if isinstance(value, str | tuple | list) and len(value) > LONG:
        return []
    if isinstance(value, PLAIN):
        return kind, value
    if isinstance(value, tuple | list):
        return (kind, *(appearance(item, depth - 1) for item in value)) if depth else []
    if isinstance(value, type):
        return value
    return [] if isinstance(value, Tensor | np.ndarray | dict | set) else kind
