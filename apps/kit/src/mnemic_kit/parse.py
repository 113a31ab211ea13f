"""Command lines made of the signature and the docstring of a function.

Everything here is quick to import: the help of a command is there before torch could be.
"""

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, cleandoc, signature
from itertools import zip_longest
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from mnemic_core.errors import UserError
from mnemic_kit.made_files import protecting

OUTPUTS = {"out", "session"}  # options of this name say where to write
_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}
_METAVARS: dict[object, str] = {int: "N", float: "X"}
# Defaults that say nothing by themselves; the docstring tells what they mean.
_SILENT: tuple[object, ...] = (None, False, (), "")


@dataclass(frozen=True)
class OneOf:
    """Annotation of a text that is one of several names, which are looked up when they are needed.

    Attributes:
        names: finds them, such as those of the catalogue.
    """

    names: Callable[[], Sequence[str]]


def call(function: Callable[..., object], program: str, arguments: Sequence[str]) -> None:
    """Call a function with the arguments of a command line, see `read_arguments`.

    What it is given to read is protected from what it writes, see `mnemic_kit.made_files`.
    """
    positional, named = read_arguments(function, program, arguments)
    given = {**dict(zip(signature(function).parameters, positional, strict=False)), **named}
    values = [value for name, value in given.items() if name not in OUTPUTS]
    items = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    with protecting(Path(item) for item in items if isinstance(item, (str, Path))):
        function(*positional, **named)


def read_arguments(
    function: Callable[..., object], program: str, arguments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the named arguments of a function that a command line gives.

    Parameters before the ``/`` of the signature are given by place, all others as options: ``--max_size 3``, also
    spelled ``--max-size=3``. Lists take words (``--seeds 0 1 2``) or one word in brackets (``--seeds "[0, 1, 2]"``),
    switches no value or ``true`` or ``false``, and options that may be None also ``null``.

    Args:
        function: its annotations are the types and its docstring is the help; annotations may be `str`, `int`,
            `float`, `bool`, `Path`, literals, `OneOf`, tuples and sequences of these, and None beside any of them.
        program: what the user typed: program and command.
        arguments: what follows it.

    Raises:
        UserError: if they do not fit the function.
        SystemExit: after the help page, if that is what they ask for.
    """
    parameters, hints = signature(function).parameters, get_type_hints(function, include_extras=True)
    words = [_underscored(word) for word in arguments]
    switches = {f"--{name}" for name in parameters if hints[name] is bool}
    spelled = [
        f"{word}=true" if word in switches and following not in {"true", "false"} else word
        for word, following in zip_longest(words, words[1:])
    ]
    given = vars(make_parser(function, program).parse_intermixed_args(spelled))
    values = {
        name: _read(hints[name], words if isinstance(words, list) else [words], _shown(parameters[name]))
        for name, words in given.items()
    }
    places = [name for name, parameter in parameters.items() if parameter.kind is Parameter.POSITIONAL_ONLY]
    return [values.pop(name, parameters[name].default) for name in places], values


def make_parser(function: Callable[..., object], program: str) -> argparse.ArgumentParser:
    """Return the parser of a function's command line; the values that it finds are words."""
    text, helps = _read_docstring(function.__doc__ or "")
    width = shutil.get_terminal_size().columns - 2
    parser = _Parser(
        prog=program,
        description="\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in signature(function).parameters.items():
        is_required = parameter.default is Parameter.empty
        settings: dict[str, Any] = {
            "help": _help(helps.get(name, ""), hints[name], parameter.default).replace("%", "%%"),
            "metavar": _metavar(name, hints[name], parameter),
            "nargs": _num_words(hints[name]),
        }
        if parameter.kind is not Parameter.POSITIONAL_ONLY:
            settings["required"] = is_required
        elif not is_required and settings["nargs"] is None:
            settings["nargs"] = "?"
        parser.add_argument(_shown(parameter), **settings)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help explains all options")


def _underscored(word: str) -> str:
    """Allow ``--max-size`` for ``--max_size``."""
    name, equals, value = word.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word


def _shown(parameter: Parameter) -> str:
    """Return what a user calls it."""
    return parameter.name if parameter.kind is Parameter.POSITIONAL_ONLY else f"--{parameter.name}"


def _read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text before the section of the arguments, and what it says of each argument."""
    text, _, section = cleandoc(docstring).partition("\n\nArgs:\n")
    lines = re.split(r"^(?=\S)", section, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", lines, re.MULTILINE)
    plain = {name: " ".join(words.split()).replace("``", "") for name, words in entries}
    return text.replace("``", ""), plain


def _help(text: str, hint: Any, default: object) -> str:
    names = _names(hint)
    listed = f"; one of {', '.join(names())}" if callable(names) else ""
    if default is Parameter.empty:
        return f"{text.rstrip('.')}{listed} (required)"
    if default in _SILENT:
        return text.rstrip(".") + listed
    words = " ".join(map(str, default)) if isinstance(default, (tuple, list)) else str(default)
    return f"{text.rstrip('.')}{listed} (default: {words})"


def _metavar(name: str, hint: Any, parameter: Parameter) -> str:
    kind, names = _item(hint), _names(hint)
    if isinstance(names, tuple):
        return "{" + ",".join(names) + "}"
    if kind is bool:
        return "{true,false}"
    return name if parameter.kind is Parameter.POSITIONAL_ONLY else _METAVARS.get(kind, name.upper())


def _num_words(hint: Any) -> str | None:
    """Return how many words a value may have, as argparse writes it."""
    kind = _without_none(hint)
    return "?" if kind is bool else "*" if get_origin(kind) in {tuple, Sequence} else None


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
    return hint


def _item(hint: Any) -> Any:
    """Return the type of one item of a list; of anything else the type itself."""
    kind = _without_none(hint)
    return get_args(kind)[0] if get_origin(kind) in {tuple, Sequence} else kind


def _names(hint: Any) -> tuple[str, ...] | Callable[[], Sequence[str]] | None:
    """Return the words that are allowed: at once, or how to find them; None where any word is."""
    kind = _item(hint)
    if get_origin(kind) is Literal:
        return get_args(kind)
    markers = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((marker.names for marker in markers if isinstance(marker, OneOf)), None)


def _read(hint: Any, words: list[str], shown: str) -> Any:
    """Return the value that words stand for."""
    kind = _without_none(hint)
    if kind is not hint and words == ["null"]:
        return None
    if get_origin(kind) not in {tuple, Sequence}:
        return _read_word(kind, words[0], shown)
    items = _list_items(words)
    kinds = get_args(kind)
    if get_origin(kind) is tuple and kinds[-1] is not Ellipsis and len(items) != len(kinds):
        raise UserError(f"{shown} takes {len(kinds)} values, got {len(items)}")
    return tuple(_read_word(kinds[0], item, shown) for item in items)


def _list_items(words: list[str]) -> list[str]:
    if len(words) != 1 or not words[0].startswith("["):
        return words
    import yaml  # only here, since it takes longer to import than all else of a command line

    try:
        return [str(item) for item in yaml.safe_load(words[0])]
    except yaml.YAMLError as error:
        raise UserError(f"{words[0]} is no list: {' '.join(str(error).split())}") from error


def _read_word(kind: Any, word: str, shown: str) -> Any:
    names = _names(kind)
    allowed = names() if callable(names) else ("true", "false") if kind is bool else names
    if allowed is not None:
        if word not in allowed:
            raise UserError(f"{shown} must be one of {', '.join(allowed)}, got {word!r}")
        return word == "true" if kind is bool else word
    try:
        return kind(word)
    except ValueError:
        raise UserError(f"{shown} must be {_NUMBERS.get(kind, kind.__name__)}, got {word!r}") from None
