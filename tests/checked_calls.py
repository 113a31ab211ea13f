"""The type checker of the tests: beartype, which is asked once about calls that look the same to it.

Checking shapes was a third of what the tests computed: a network calls the same functions with the same shapes over and
over. Whether an annotation holds depends on nothing but classes, shapes, data types, and values of plain arguments.
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


def checked(function: Checked) -> Checked:
    """Return the function with every argument checked, unless a call that looked the same has passed."""
    check = beartype(function)
    passed: set[Hashable] = set()  # jaxtyping hands over functions without a body: there is no result to keep

    @wraps(function)
    def once(*args: Any, **kwargs: Any) -> None:
        look: Hashable = (*map(appearance, args), *kwargs, *map(appearance, kwargs.values()))
        try:
            has_passed = look in passed
        except TypeError:  # it cannot be hashed: the appearance of something in it is not known
            look = has_passed = None
        if not has_passed:
            check(*args, **kwargs)
        if look is not None:
            passed.add(look)

    return once


def appearance(value: Any) -> Any:
    """Return all that an annotation may depend on, or something that cannot be hashed."""
    kind = type(value)
    if kind is Tensor or kind is nn.Parameter:
        return kind, value.shape, value.dtype
    if isinstance(value, PLAIN):
        return kind, value
    if isinstance(value, tuple | list):
        return kind, *map(appearance, value)
    if isinstance(value, type):
        return value
    return [] if isinstance(value, Tensor | np.ndarray | dict | set) else kind
