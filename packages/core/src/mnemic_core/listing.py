"""Names of all mechanisms, parsed from the source of their entries, so that help texts need not import torch."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import mnemic_core

T = TypeVar("T")

Place = Literal["attention", "beside", "model", "stack", "machine", "layer", "store", "selector"]

SEQUENCE_PLACES: frozenset[Place] = frozenset({"attention", "beside", "model", "stack", "machine"})

_START = re.compile(r"^\w+.* = Mechanism\(", re.MULTILINE)
_ENTRY = re.compile(r"^\w+ = (Mechanism\(\n.*?^\))$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What decides where a mechanism can be used; entries state it with literals, so that parsing finds it.

    Attributes:
        name: its name in configurations.
        place: its place in a model: instead of the ``attention`` of a block, ``beside`` it, or around a ``model``; a
            ``stack`` is a complete model; a token ``machine``, a parametric ``layer``, a ``store`` and a ``selector``
            are used on their own.
        presets: further names for configurations, each with the options that it sets.
        is_read_write: True if it has ``read`` and ``write``.
        is_causal: False if a token may see later ones of its segment, so that only encoders can use it.
    """

    name: str
    place: Place
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_read_write: bool = False
    is_causal: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name and those of its presets."""
        return (self.name, *self.presets)

    @property
    def is_recurrent(self) -> bool:
        """Whether it carries a state from segment to segment and keeps the memory contract."""
        return self.place in SEQUENCE_PLACES

    @property
    def is_machine(self) -> bool:
        """Whether it processes a sequence token by token."""
        return self.place == "machine"

    @property
    def is_whole_model(self) -> bool:
        """Whether it is a complete model, which needs no transformer around it."""
        return self.place == "stack"

    @property
    def wraps_model(self) -> bool:
        """Whether it wraps a model that the host must supply."""
        return self.place == "model"

    @property
    def replaces_attention(self) -> bool:
        """Whether a block with it has no self-attention of its own."""
        return self.place == "attention"

    @property
    def fits_causal_model(self) -> bool:
        """Whether a transformer that predicts token by token can use it segment by segment.

        A wrapper may look ahead in what it recalls, which ``is_causal`` states: the model in it is causal all the same.
        """
        return self.is_recurrent and not self.is_machine and (self.is_causal or self.wraps_model)

    @property
    def fits_encoder(self) -> bool:
        """Whether it can follow an encoder: a machine, or a memory of a transformer block."""
        return self.is_recurrent and not (self.wraps_model or self.is_whole_model)

    @property
    def fits_strings(self) -> bool:
        """Whether it can read a string causally and answer at its end."""
        return self.is_recurrent and self.is_causal


def lists_memories(fits: Callable[[Listing], bool]) -> Callable[[T], T]:
    """Replace ``{memories}`` in a docstring, from which help texts are made, by the names of the memories that fit.

    Args:
        fits: which mechanisms.

    Example:
        >>> @lists_memories(lambda entry: entry.wraps_model)
        ... def wrap(): "One of {memories}."
        >>> wrap.__doc__
        'One of hierarchical, memory_tokens.'
    """

    def write(documented: T) -> T:
        documented.__doc__ = (documented.__doc__ or "").replace("{memories}", ", ".join(memory_names(fits)))
        return documented

    return write


def memory_names(fits: Callable[[Listing], bool] = lambda entry: entry.is_recurrent) -> tuple[str, ...]:
    """Return the names, presets included, of the memories that fit.

    Args:
        fits: which mechanisms; by default those that carry a state.

    Example:
        >>> memory_names(lambda entry: entry.wraps_model)
        ('hierarchical', 'memory_tokens')
    """
    return tuple(name for entry, _ in listings() if fits(entry) for name in entry.names)


@cache
def listings() -> tuple[tuple[Listing, str], ...]:
    """Return every mechanism with the module of its entry, sorted by place and name."""
    found: list[tuple[Listing, str]] = []
    for folder in map(Path, mnemic_core.__path__):
        for path in folder.rglob("*.py"):
            module = ".".join(("mnemic_core", *path.relative_to(folder).with_suffix("").parts))
            source = path.read_text(encoding="utf-8")
            entries = _ENTRY.findall(source)
            if len(entries) != len(_START.findall(source)):  # it would be missing silently
                raise RuntimeError(f"{path}: write its entry as NAME = Mechanism( with one argument on each line")
            found += ((_read(entry), module) for entry in entries)
    # Otherwise the order of files would decide which of two mechanisms of one name is built.
    modules: dict[str, str] = {}
    for entry, module in found:
        for name in entry.names:
            if name in modules:
                raise RuntimeError(f"two mechanisms are called {name!r}: in {modules[name]} and {module}")
            modules[name] = module
    places = get_args(Place)
    return tuple(sorted(found, key=lambda each: (places.index(each[0].place), each[0].name)))


def _read(entry: str) -> Listing:
    call = cast(ast.Call, ast.parse(entry, mode="eval").body)
    stated = {item.name for item in fields(Listing)}
    return Listing(**{each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg in stated})
