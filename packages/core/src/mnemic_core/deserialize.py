"""Typed settings from the plain values of a file's header, with one-line errors."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some


def deserialize(kind: Any, value: Any, source: str | Path, place: str) -> Any:
    """Convert a value of JSON to a type, which may be a nested dataclass; absent fields take their defaults.

    Args:
        kind: dataclass, ``tuple``, ``list``, ``dict``, ``Literal``, union or simple type.
        value: mappings, lists, strings, numbers, booleans and None.
        source: name of the file in messages.
        place: path of the value in it, such as ``config``.

    Raises:
        UserError: if it has another type, lacks a field, or has an unknown one.

    Example:
        >>> from mnemic_core import TransformerConfig
        >>> deserialize(TransformerConfig, {"dim": 8, "num_heads": 2, "memory_layers": [0, 1]}, "a.ckpt", "config").dim
        8
    """
    origin, options = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _restore_fields(kind, value, source, place)
    if origin in (Union, UnionType):
        return _restore_union(options, value, source, place)
    if origin is not None and origin is not Literal:
        return _restore_container(origin, options, value, source, place)
    if origin is Literal:
        fits = any(value == option and type(value) is type(option) for option in options)
    elif kind is float:  # JSON writes 1.0 as 1 in some programs; True is an int in Python but no number here
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))
    if not fits:
        raise _mistake(kind, value, source, place)
    return float(value) if kind is float else value


def _restore_fields(kind: Any, value: Any, source: str | Path, place: str) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _mistake(dict, value, source, place)
    known = {item.name: item for item in fields(kind)}
    if unknown := sorted(f"{name!s:.40}" for name in value if name not in known):
        package = kind.__module__.partition(".")[0].replace("_", "-")
        raise UserError(
            f"{source} has settings that this version does not know ({name_some(unknown)}): update {package}"
        )
    required = (name for name, item in known.items() if item.default is item.default_factory is MISSING)
    if absent := [name for name in required if name not in value]:
        raise UserError(f"{source} lacks {place}.{absent[0]}: it is damaged or of another program")
    hints = get_type_hints(kind)
    return kind(**{name: deserialize(hints[name], each, source, f"{place}.{name}") for name, each in value.items()})


def _restore_union(options: Sequence[Any], value: Any, source: str | Path, place: str) -> Any:
    if value is None and NoneType in options:
        return None
    *others, last = (option for option in options if option is not NoneType)
    for option in others:
        try:
            return deserialize(option, value, source, place)
        except UserError:  # the next option may fit
            continue
    return deserialize(last, value, source, place)


def _restore_container(origin: Any, options: tuple[Any, ...], value: Any, source: str | Path, place: str) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _mistake(dict, value, source, place)
        keys, values = options
        return {
            deserialize(keys, key, source, f"a name in {place}"): deserialize(values, each, source, f"{place}.{key}")
            for key, each in value.items()
        }
    is_fixed = origin is tuple and Ellipsis not in options
    if not isinstance(value, list | tuple) or (is_fixed and len(value) != len(options)):
        raise _mistake(list, value, source, place)
    kinds = options if is_fixed else options[:1] * len(value)
    restored = [deserialize(kind, each, source, place) for kind, each in zip(kinds, value, strict=True)]
    return restored if origin is list else tuple(restored)


def _mistake(kind: Any, value: Any, source: str | Path, place: str) -> UserError:
    expected = kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")
    given = " ".join(repr(value).split())
    return UserError(f"{source} has {place} {given:.60}, expected {expected}: it is damaged or of another program")
