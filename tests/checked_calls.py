"""The check of annotations in the tests: jaxtyping, which is asked once about calls that look the same to it.

A network calls the same functions with the same shapes over and over: checking each was a third of what the tests cost.
Whether an annotation holds depends on nothing but classes, shapes, data types, and values of plain arguments.
"""

import dataclasses
from collections.abc import Callable, Hashable
from functools import cached_property, partial, update_wrapper, wraps
from types import FunctionType
from typing import Any

import jaxtyping
import numpy as np
import torch
from torch import Tensor, nn

check_always = jaxtyping.jaxtyped
PLAIN = (type(None), bool, int, str, torch.dtype, torch.device, torch.Size)
LONG = 16  # items of a container or letters of a text; longer ones are checked in every call
MOST = 1000  # calls of a function that are remembered, and results of calls that look the same


def checked(target: Any = None, *, typechecker: Any = None) -> Any:
    """Decorate a function or a dataclass as `jaxtyping.jaxtyped` does, of which it takes the place in the tests."""
    if target == "context":
        return check_always(target)
    if target is None:
        return partial(checked, typechecker=typechecker)
    if not isinstance(target, type):
        return check_once(target, typechecker)
    if dataclasses.is_dataclass(target) and not hasattr(target.__init__, "__wrapped__"):
        target.__init__ = check_once(target.__init__, typechecker)
    return target


def check_once(function: FunctionType, typechecker: Any) -> Callable[..., Any]:
    """Return the function with arguments and result checked, unless a call that looked the same has passed."""
    checks = Checks(function, typechecker)
    passed: dict[Hashable, set[Hashable]] = {}  # the appearance of arguments and of the results of such calls

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        look = (*map(appearance, args), *kwargs, *map(appearance, kwargs.values()))
        try:
            results = passed.get(look)
        except TypeError:  # it cannot be hashed: the appearance of something in it is not known
            return checks.call(*args, **kwargs)
        if results is None:
            result = checks.call(*args, **kwargs)
            results = bounded(passed).setdefault(look, set())
        else:
            result = function(*args, **kwargs)
        found = appearance(result)
        try:
            if found not in results:
                checks.check(result, *args, **kwargs)
                bounded(results).add(found)
        except TypeError:
            checks.check(result, *args, **kwargs)
        return result

    return call


class Checks:
    """The forms of a function that check its annotations, made when they are needed: most functions need neither."""

    def __init__(self, function: FunctionType, typechecker: Any) -> None:
        self._decorate = partial(check_always, typechecker=typechecker)
        self._function = function
        self._result: Any = None

    @cached_property
    def call(self) -> Callable[..., Any]:
        """The function with its arguments checked before it and its result after it."""
        return self._decorate(self._function)

    @cached_property
    def _replay(self) -> Callable[..., Any]:
        def replay(*_: Any, **__: Any) -> Any:
            return self._result

        # A name in an annotation is looked up where the function is defined.
        same = FunctionType(replay.__code__, self._function.__globals__, closure=replay.__closure__)
        return self._decorate(update_wrapper(same, self._function))

    def check(self, result: Any, /, *args: Any, **kwargs: Any) -> None:
        """Check the arguments and the result of a call that was made."""
        self._result = result
        self._replay(*args, **kwargs)
        self._result = None


def bounded(memory: Any) -> Any:
    """Return a set or dictionary, emptied when it is full of values that never come twice."""
    if len(memory) >= MOST:
        memory.clear()
    return memory


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
