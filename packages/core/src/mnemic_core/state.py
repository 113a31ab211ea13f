"""What a memory carries from one segment to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints, runtime_checkable

import torch
from jaxtyping import Bool, Int, Shaped, jaxtyped
from torch import Tensor
from torch.utils import _pytree as pytree

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import read_tensors, write_tensors

State = TypeVar("State", bound="MemoryState")

Device = torch.device | str | None
"""Where tensors are made; None is the default device of torch."""

FORMAT_VERSION = "2"  # 1 named classes without their module

_CLASSES: dict[str, type["MemoryState"]] = {}  # by qualified name, for files that hold states of several classes


@dataclass(frozen=True)
class MemoryState:
    """Base of memory states: frozen dataclasses of tensors, further states or tuples of states.

    The batch is the first axis of every tensor and shapes never change, so that states can be compiled, exported,
    saved and reordered. Subclasses are pytrees. Modules hold parameters, callers hold states.

    Example:
        >>> @dataclass(frozen=True)
        ... class Sums(MemoryState):
        ...     total: Tensor
        >>> Sums(torch.ones(2, 3)).index_select(torch.tensor([1])).total.shape
        torch.Size([1, 3])
    """

    def __init_subclass__(cls) -> None:
        """Register the subclass for ``torch.export`` and ``torch.load``; its name must be new in its module."""
        super().__init_subclass__()
        name = qualified_name(cls)
        if name in _CLASSES:
            raise TypeError(f"a state class {name} is defined already: files could not tell the two apart, rename one")
        # A notebook redefines its classes with every run of a cell, and classes of a function have no unique name.
        if cls.__module__ != "__main__" and "<locals>" not in name:
            _CLASSES[name] = cls
        pytree.register_pytree_node(
            cls,
            _flatten,
            lambda leaves, names: _unflatten(cls, leaves, names),
            serialized_type_name=name,
            flatten_with_keys_fn=_flatten_with_keys,
        )
        torch.serialization.add_safe_globals([cls])

    def map(self: State, fn: Callable[[Tensor], Tensor]) -> State:
        """Return a copy with ``fn`` applied to every tensor, also of nested states."""
        mapped: State = _mapped(fn, self)
        return mapped

    def detach(self: State) -> State:
        """Return a copy without gradients (truncated back-propagation)."""
        return self.map(Tensor.detach)

    def clone(self: State) -> State:
        """Return a differentiable copy with its own storage."""
        return self.map(torch.clone)

    def to(self: State, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """Return a copy on ``device`` with floating-point tensors of ``dtype``."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    def index_select(self: State, rows: Int[Tensor, " row"] | Bool[Tensor, " batch"]) -> State:
        """Return the given rows of the batch, by index (beam search) or where True.

        A nested state may have several consecutive rows for each row (tracks of a stream), which move together.
        """
        batch = self.batch_size
        return self.map(lambda tensor: tensor[_spread(rows, tensor.shape[0], batch)])

    def replace_rows(self: State, rows: Bool[Tensor, " batch"], other: State) -> State:
        """Return a copy with the rows of ``other`` where ``rows`` is True, of this device and dtype."""
        batch = self.batch_size

        def choose(old: Tensor, new: Tensor) -> Tensor:
            is_new = _spread(rows, old.shape[0], batch).view(-1, *[1] * (old.ndim - 1))
            return torch.where(is_new, new.to(old), old)

        merged: State = _mapped(choose, self, other)
        return merged

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name, those of nested states as ``"nested.name"``."""
        named: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, MemoryState):
                named |= {f"{field.name}.{name}": tensor for name, tensor in value.tensors().items()}
            else:
                named[field.name] = value
        return named

    @property
    def batch_size(self) -> int:
        """Number of rows."""
        return _first_tensor(self).shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the first tensor."""
        return _first_tensor(self).device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def to_dict(self) -> dict[str, Tensor]:
        """Return every tensor by its dotted name, detached and with its own storage."""
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.tensors().items()
        }

    @classmethod
    def from_dict(cls: type[State], tensors: Mapping[str, Tensor]) -> State:
        """Build a state from the tensors of :meth:`to_dict`, all of which are required."""
        expected = set(_names(cls))
        if expected != set(tensors):
            raise UserError(
                f"{cls.__name__} needs the tensors {sorted(expected)}, got {sorted(tensors)}; "
                "load it with the class that saved it"
            )
        return _build(cls, tensors, "")

    def refill(self: State, tensors: Mapping[str, Tensor]) -> State:
        """Return a state of this structure and device with the tensors of another one's `to_dict`.

        Raises:
            UserError: if a tensor is missing, left over, or of another shape or type.
        """
        own = self.tensors()
        expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in own.items()}
        given = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
        if given != expected:
            names = sorted(expected.keys() | given.keys())
            name = next(name for name in names if expected.get(name) != given.get(name))
            raise UserError(
                f"the saved state has {name} {_shape(given, name)}, expected {_shape(expected, name)}: continue with "
                "the same memory and as many streams"
            )
        leaves = [tensors[name].to(self.device) for name in own]
        filled: State = pytree.tree_unflatten(leaves, pytree.tree_structure(self))
        return filled

    def save(self, path: str | Path) -> None:
        """Write the state as safetensors; replaces a file of that name only when complete."""
        write_tensors(path, self.to_dict(), {"format_version": FORMAT_VERSION, "class": qualified_name(type(self))})

    @classmethod
    def load(cls: type[State], path: str | Path, device: torch.device | str = "cpu") -> State:
        """Read a state that :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if the file is damaged, of another format version or of another class.
        """
        tensors, metadata = read_tensors(path, device)
        found = (metadata.get("format_version"), metadata.get("class"))
        if found not in ((FORMAT_VERSION, qualified_name(cls)), ("1", cls.__name__)):
            raise UserError(
                f"{path} holds {found[1]} in format {found[0]}, expected {qualified_name(cls)} in format "
                f"{FORMAT_VERSION}; load it with the class that saved it"
            )
        return cls.from_dict(tensors)


def check_shape(name: str, tensor: Shaped[Tensor, "..."], expected: tuple[int, ...]) -> None:
    """Raise ``UserError`` for a tensor of a state of another shape; a batch of 1 would otherwise be broadcast."""
    if tensor.shape != expected:
        given = tuple(tensor.shape)
        raise UserError(f"expected a state with {name} of shape {expected}, got {given}; make it with init_state")


def qualified_name(cls: type) -> str:
    """Return the name of a class with its module, as in files."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _shape(tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]], name: str) -> str:
    return f"of shape {tensors[name][0]} and {tensors[name][1]}" if name in tensors else "missing"


def state_class(name: str) -> type[MemoryState]:
    """Return the state class of a qualified name, or the only one of a name without module, as in older files.

    Raises:
        UserError: if there is none, perhaps because its module is not imported yet, or several.
    """
    found = [cls for known, cls in _CLASSES.items() if name in (known, cls.__name__)]
    if len(found) != 1:
        raise UserError(
            f"{len(found)} state classes are named {name!r}, expected one: import the module of its mechanism first"
        )
    return found[0]


def _mapped(fn: Callable[..., Tensor], *values: Any) -> Any:
    """Apply ``fn`` to the corresponding tensors of values of one structure."""
    first = values[0]
    if isinstance(first, MemoryState):
        # Faster than dataclasses.fields: machines call this for every token.
        parts = [[getattr(value, name) for value in values] for name in first.__dataclass_fields__]
        return type(first)(*[_mapped(fn, *part) for part in parts])
    if isinstance(first, tuple):
        return tuple(_mapped(fn, *part) for part in zip(*values, strict=True))
    return fn(*values)


def _spread(
    rows: Int[Tensor, " row"] | Bool[Tensor, " batch"], number: int, batch: int
) -> Int[Tensor, " spread"] | Bool[Tensor, " number"]:
    """Return rows by index or mask for a tensor with ``number / batch`` rows for each row of the batch."""
    if number == batch:
        return rows
    each = number // batch
    if rows.dtype == torch.bool:
        return rows.repeat_interleave(each)
    return (rows[:, None] * each + torch.arange(each, device=rows.device)).flatten()


def _first_tensor(value: MemoryState | tuple[MemoryState, ...]) -> Shaped[Tensor, " row *shape"]:
    """Return the first tensor, preferably not of a nested state, which may have several rows for each."""
    parts = value if isinstance(value, tuple) else [getattr(value, name) for name in value.__dataclass_fields__]
    for part in parts:
        if isinstance(part, Tensor):
            return part
    return _first_tensor(parts[0])


def _flatten(state: MemoryState) -> tuple[list[Any], list[str]]:
    # A list, not a tuple: saved programs store it as JSON and compare it.
    names = [field.name for field in fields(state)]
    return [getattr(state, name) for name in names], names


def _flatten_with_keys(state: MemoryState) -> tuple[list[tuple[Any, Any]], list[str]]:
    leaves, names = _flatten(state)
    return [(pytree.GetAttrKey(name), leaf) for name, leaf in zip(names, leaves, strict=True)], names


def _unflatten(cls: type[State], leaves: Any, names: list[str]) -> State:
    # Not through __init__: tracers pass placeholders for tensors, which the type checker of tests would refuse.
    state = object.__new__(cls)
    for name, leaf in zip(names, leaves, strict=True):
        object.__setattr__(state, name, leaf)
    return state


def _types(cls: type[MemoryState]) -> dict[str, Any]:
    """Return the annotations of the fields of a state class."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _is_state_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, MemoryState)


def _names(cls: type[MemoryState], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, kind in _types(cls).items():
        names += _names(kind, f"{prefix}{name}.") if _is_state_class(kind) else [prefix + name]
    return names


def _build(cls: type[State], tensors: Mapping[str, Shaped[Tensor, "..."]], prefix: str) -> State:
    values: list[Any] = []
    with jaxtyped("context"):  # axes of one name have one length
        for name, kind in _types(cls).items():
            is_nested = _is_state_class(kind)
            value = _build(kind, tensors, f"{prefix}{name}.") if is_nested else tensors[prefix + name]
            if not is_nested and not isinstance(value, kind):
                given = f"{value.dtype} of shape {tuple(value.shape)}"
                raise UserError(f"{cls.__name__} has {prefix}{name} {given}, expected {kind}; save the state again")
            values.append(value)
    return cls(*values)


@dataclass(frozen=True)
class SlotView(MemoryState):
    """Slots of a state, from which memory reports are computed.

    Attributes:
        values: content of the slots.
        valid: True where something was written.
        age: writes since that of the slot, 0 for the newest; -1 where nothing was written.
    """

    values: Shaped[Tensor, "batch slot dim"]
    valid: Bool[Tensor, "batch slot"]
    age: Int[Tensor, "batch slot"]

    @classmethod
    def of_equal_age(cls, values: Shaped[Tensor, "batch slot dim"], writes: Int[Tensor, " batch"]) -> "SlotView":
        """Return slots that every write changes together, after a number of writes to each row."""
        age = (writes - 1)[:, None].expand(values.shape[:2])
        return cls(values, age >= 0, age)


@runtime_checkable
class Slotted(Protocol):
    """A state with slots."""

    def slots(self) -> SlotView:
        """Return content, validity and age of the slots."""
        ...
