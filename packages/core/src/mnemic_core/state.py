"""What a memory carries from one segment to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints, runtime_checkable

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.utils import _pytree as pytree

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import read_tensors, write_tensors

State = TypeVar("State", bound="MemoryState")

FORMAT_VERSION = "1"

_CLASSES: dict[str, type["MemoryState"]] = {}  # by name, for files that hold states of several classes


@dataclass(frozen=True)
class MemoryState:
    """Base of all memory states: a frozen dataclass whose fields are tensors or further states.

    The batch is the first axis of every tensor and shapes stay the same from step to step, so that a state can be
    compiled, exported, saved and re-ordered. Subclasses are registered as pytrees by being defined. The module holds
    the parameters; the caller holds the state.

    Example:
        >>> @dataclass(frozen=True)
        ... class Sums(MemoryState):
        ...     total: Tensor
        >>> Sums(torch.ones(2, 3)).index_select(torch.tensor([1])).total.shape
        torch.Size([1, 3])
    """

    def __init_subclass__(cls) -> None:
        """Register the subclass, so that ``torch.export`` sees its tensors and ``torch.load`` trusts them."""
        super().__init_subclass__()
        pytree.register_pytree_node(
            cls,
            _flatten,
            lambda leaves, names: _unflatten(cls, leaves, names),
            serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
            flatten_with_keys_fn=_flatten_with_keys,
        )
        torch.serialization.add_safe_globals([cls])
        _CLASSES[cls.__name__] = cls

    def map(self: State, fn: Callable[[Tensor], Tensor]) -> State:
        """Return a copy with ``fn`` applied to every tensor, nested states included."""
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(value.map(fn) if isinstance(value, MemoryState) else fn(value) for value in values))

    def detach(self: State) -> State:
        """Return a copy that gradients do not cross (truncated back-propagation)."""
        return self.map(Tensor.detach)

    def clone(self: State) -> State:
        """Return a copy that shares no storage with this state; gradients flow through it."""
        return self.map(torch.clone)

    def to(self: State, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        """Return a copy on ``device`` whose floating-point tensors have ``dtype``; counters stay integers."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    def index_select(self: State, rows: Int[Tensor, " row"] | Bool[Tensor, " batch"]) -> State:
        """Return the given rows of the batch, by index (beam search) or where True.

        A nested state may have several rows for each row of this one, next to each other (a memory of tracks in a
        state of streams): they move together.
        """
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(
            *(
                value.index_select(_nested_rows(rows, value, self)) if isinstance(value, MemoryState) else value[rows]
                for value in values
            )
        )

    def replace_rows(self: State, rows: Bool[Tensor, " batch"], other: State) -> State:
        """Return a copy with the rows of ``other`` where ``rows`` is True; device and dtype stay as they are."""
        return _where(rows, other, self)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name; those of a nested state as ``"nested.name"``."""
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
        """Number of rows; a nested state may have several for each of them, so that tensors of its own come first."""
        own = [value for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)]
        return (own or [*self.tensors().values()])[0].shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the first tensor."""
        return next(iter(self.tensors().values())).device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def to_dict(self) -> dict[str, Tensor]:
        """Return every tensor by its dotted name, detached and with storage of its own, ready to be written."""
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.tensors().items()
        }

    @classmethod
    def from_dict(cls: type[State], tensors: Mapping[str, Tensor]) -> State:
        """Build the state that :meth:`to_dict` described.

        Raises:
            UserError: if a tensor is missing or a name is unknown.
        """
        expected = set(_names(cls))
        if expected != set(tensors):
            raise UserError(
                f"{cls.__name__} needs the tensors {sorted(expected)}, got {sorted(tensors)}; "
                "load it with the class that saved it"
            )
        return _build(cls, tensors, "")

    def save(self, path: str | Path) -> None:
        """Write the state as safetensors; a file of that name is replaced only once all is written.

        Raises:
            OSError: if it cannot be written, for want of space or of a folder.
        """
        write_tensors(path, self.to_dict(), {"format_version": FORMAT_VERSION, "class": type(self).__name__})

    @classmethod
    def load(cls: type[State], path: str | Path, device: torch.device | str = "cpu") -> State:
        """Read a state that :meth:`save` wrote.

        Args:
            path: the safetensors file.
            device: where the tensors go.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if the file is damaged, of another format version or of another class.
        """
        tensors, metadata = read_tensors(path, device)
        found = (metadata.get("format_version"), metadata.get("class"))
        if found != (FORMAT_VERSION, cls.__name__):
            raise UserError(
                f"{path} holds {found[1]} in format {found[0]}, expected {cls.__name__} in format {FORMAT_VERSION}; "
                "load it with the class that saved it"
            )
        return cls.from_dict(tensors)


def state_class(name: str) -> type[MemoryState]:
    """Return the state class of that name.

    Raises:
        UserError: if none was defined; the module that defines it may not be imported yet.
    """
    if name not in _CLASSES:
        raise UserError(f"no state class {name!r} is defined: import the module of its mechanism first")
    return _CLASSES[name]


def _flatten(state: MemoryState) -> tuple[list[Any], list[str]]:
    # A list of names, not a tuple: it goes through json in a saved program and must be equal when it comes back.
    names = [field.name for field in fields(state)]
    return [getattr(state, name) for name in names], names


def _flatten_with_keys(state: MemoryState) -> tuple[list[tuple[Any, Any]], list[str]]:
    leaves, names = _flatten(state)
    return [(pytree.GetAttrKey(name), leaf) for name, leaf in zip(names, leaves, strict=True)], names


def _unflatten(cls: type[State], leaves: Any, names: list[str]) -> State:
    # Not through __init__: tracers put placeholders where tensors were, which a checked constructor would refuse.
    state = object.__new__(cls)
    for name, leaf in zip(names, leaves, strict=True):
        object.__setattr__(state, name, leaf)
    return state


def _where(rows: Tensor, chosen: State, otherwise: State) -> State:
    merged: list[Any] = []
    for field in fields(otherwise):
        new, old = getattr(chosen, field.name), getattr(otherwise, field.name)
        if isinstance(old, MemoryState):
            merged.append(old.replace_rows(_nested_rows(rows, old, otherwise), new))
        else:
            merged.append(torch.where(rows.view(-1, *[1] * (old.ndim - 1)), new.to(old), old))
    return type(otherwise)(*merged)


def _nested_rows(rows: Tensor, nested: MemoryState, owner: MemoryState) -> Tensor:
    """Return the rows of a nested state that belong to the given rows of its owner, by index or mask as given."""
    each = nested.batch_size // owner.batch_size
    if each == 1:
        return rows
    if rows.dtype == torch.bool:
        return rows.repeat_interleave(each)
    return (rows[:, None] * each + torch.arange(each, device=rows.device)).flatten()


def _nested(cls: type[MemoryState]) -> dict[str, type[MemoryState] | None]:
    """Return the fields of a state class with the class of those that are states themselves."""
    hints = get_type_hints(cls)
    types = {field.name: hints[field.name] for field in fields(cls)}
    return {name: kind if _is_state_class(kind) else None for name, kind in types.items()}


def _is_state_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, MemoryState)


def _names(cls: type[MemoryState], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, nested in _nested(cls).items():
        names += [prefix + name] if nested is None else _names(nested, f"{prefix}{name}.")
    return names


def _build(cls: type[State], tensors: Mapping[str, Tensor], prefix: str) -> State:
    values: list[Any] = []
    for name, nested in _nested(cls).items():
        values.append(tensors[prefix + name] if nested is None else _build(nested, tensors, f"{prefix}{name}."))
    return cls(*values)


@dataclass(frozen=True)
class SlotView(MemoryState):
    """A state seen as addressable slots, the form in which every memory can be reported on.

    Attributes:
        values: content of the slots.
        valid: True where something was written.
        age: writes since the slot's entry began, 0 for the newest; -1 where nothing was written.
    """

    values: Shaped[Tensor, "batch slot dim"]
    valid: Bool[Tensor, "batch slot"]
    age: Int[Tensor, "batch slot"]


@runtime_checkable
class Slotted(Protocol):
    """A state that can show its content as slots, and so be reported on."""

    def slots(self) -> SlotView:
        """Return content, validity and age of the slots."""
        ...
