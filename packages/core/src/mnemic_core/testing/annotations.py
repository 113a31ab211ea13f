"""Disabling shape checks for the compiler."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping

from mnemic_core.state import MemoryState


@contextmanager
def unchecked_annotations() -> Iterator[None]:
    """Disable shape checks in the block: ``torch.compile`` cannot trace through the type checker of tests.

    For functions and modules the checker has a switch. Methods of states that are made inside a graph, which the
    compiler cannot trace to a source, are unwrapped in addition.
    """
    before = jaxtyping.config.jaxtyping_disable
    checked = [
        (cls, name, member, plain)
        for cls in _with_subclasses(MemoryState)
        for name, member in vars(cls).items()
        if (plain := _unwrapped(member)) is not member
    ]
    jaxtyping.config.update("jaxtyping_disable", True)
    for cls, name, _, plain in checked:
        setattr(cls, name, plain)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
        for cls, name, member, _ in checked:
            setattr(cls, name, member)


def _with_subclasses(cls: type[MemoryState]) -> list[type[MemoryState]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _with_subclasses(child))]


def _unwrapped(member: Any) -> Any:
    """Return the undecorated function, also of a property or class method; other members unchanged."""
    if isinstance(member, property):
        plain = inspect.unwrap(member.fget) if member.fget else None
        return member if plain is member.fget else property(plain)
    if isinstance(member, classmethod):
        plain = inspect.unwrap(member.__func__)
        return member if plain is member.__func__ else classmethod(plain)
    return inspect.unwrap(member) if inspect.isfunction(member) else member
