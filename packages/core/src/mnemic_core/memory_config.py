"""How configurations choose a memory: by name and options."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from inspect import signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mnemic_core.catalogue import find_mechanism
from mnemic_core.errors import UserError
from mnemic_core.listing import Listing, memory_names
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import SegmentMemory
from mnemic_core.slots.model_adapter import HostModel


@dataclass(frozen=True)
class MemoryConfig:
    """A memory by name and options.

    Args:
        name: a mechanism of ``mnemic_core.list_mechanisms()`` that carries a state, or one of its presets.
        options: keyword arguments of that memory, such as ``{"capacity": 64}``.

    Raises:
        UserError: if there is no such memory, or it has no such option.

    Example:
        >>> MemoryConfig("window", {"capacity": 4}).build(dim=8).capacity
        4
    """

    name: str = "none"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mechanism = self.mechanism
        if not mechanism.is_recurrent:
            known = ", ".join(memory_names())
            raise UserError(
                f"memory must be one that carries a state ({known}), got {self.name!r}, a {mechanism.place}"
            )
        check_options(self.name, self.options)

    @property
    def mechanism(self) -> Mechanism:
        """The catalogue entry of the memory."""
        return find_mechanism(self.name)

    @property
    def size(self) -> int | None:
        """Capacity of the memory; None if its weights depend on it."""
        option = self.mechanism.size_option
        if option is None:
            return None
        default = signature(self.mechanism.cls).parameters[option].default
        return int({option: default, **self._all_options}[option])

    def resized(self, size: int) -> "MemoryConfig":
        """Return the configuration with another capacity, for the same weights.

        Raises:
            UserError: if the weights depend on the size.
        """
        option = self.mechanism.size_option
        if option is None:
            raise UserError(f"the size of memory {self.name!r} is fixed by its weights")
        return MemoryConfig(self.name, {**self.options, option: size})

    def require(self, kind: str, fits: Callable[[Listing], bool]) -> None:
        """Refuse a memory that does not fit.

        Args:
            kind: completes the message "memory must be one that ...".
            fits: whether a mechanism fits.

        Raises:
            UserError: with the names of the memories that fit.
        """
        if not fits(self.mechanism):
            raise UserError(f"memory must be one that {kind} ({', '.join(memory_names(fits))}), got {self.name!r}")

    def build(self, dim: int, host: HostModel | None = None) -> SegmentMemory[Any]:
        """Return a new memory.

        Args:
            dim: width of tokens.
            host: model of the same width for a memory that wraps one; None: a layer of causal attention.

        Raises:
            UserError: if an option has an impossible value.
        """
        mechanism = self.mechanism
        wrapped = {"host": host} if mechanism.wraps_model else {}
        try:
            memory: SegmentMemory[Any] = mechanism.cls(dim, **wrapped, **self._all_options)
        except TypeError as error:  # options come from files: a value of a wrong type is a mistake of the user
            raise UserError(f"memory {self.name!r} cannot be built with the options {self.options}: {error}") from error
        return memory

    @property
    def _all_options(self) -> dict[str, Any]:
        return {**self.mechanism.presets.get(self.name, {}), **self.options}


def check_options(memory: str, options: object, set_by_host: Collection[str] = ()) -> None:
    """Refuse options that a memory does not have, or of another type.

    Args:
        memory: name of a mechanism.
        options: options by name, as read from a file.
        set_by_host: options that the model around the memory sets.

    Raises:
        UserError: naming the option, and those that there are.
    """
    if not isinstance(options, dict):
        raise UserError(f"options of memory {memory!r} must be values by name, got {options!r}")
    mechanism = find_mechanism(memory)
    known = [name for name in mechanism.options if name not in set_by_host]
    if unknown := sorted(options.keys() - set(known)):
        listed = ", ".join(known) or "none"
        raise UserError(f"memory {memory!r} has no option {', '.join(unknown)}; it has {listed}")
    kinds = get_type_hints(mechanism.cls.__init__) if options else {}
    for name, value in options.items():
        if not _is_of(kinds[name], value):
            expected = getattr(kinds[name], "__name__", kinds[name])
            raise UserError(f"option {name} of memory {memory!r} must be {expected}, got {value!r}")


_SIMPLE: dict[Any, type] = {int: Integral, float: Real, bool: bool, NoneType: NoneType}


def _is_of(hint: Any, value: Any) -> bool:
    """Return whether a value has a type; only numbers, switches and None are checked."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if not all(kind in _SIMPLE for kind in kinds):
        return True
    if isinstance(value, bool):  # an int in Python, but no number here
        return bool in kinds
    return isinstance(value, tuple(_SIMPLE[kind] for kind in kinds))
