"""Command lines made of the signature and the docstring of a function.

Everything here is quick to import: the help of a command is there before torch could be.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import BoundArguments, Parameter, cleandoc, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from mnemic_core.errors import UserError
from mnemic_kit.made_files import protecting, removing_empty

OUTPUTS = {"out", "session"}  # options that name what is written
_NO_OPTION = "\0"  # before words that may begin with a dash; no word of a command line can hold it
_METAVARS: dict[Any, str] = {int: "N", float: "X"}
_EXPECTED: dict[Any, str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class OneOf:
    """Annotation of a text that is one of several names, such as those of the catalog, looked up when needed."""

    names: Callable[[], Sequence[str]]


def call(function: Callable[..., object], program: str, arguments: Sequence[str]) -> None:
    """Call a function with the arguments of a command line, see `read_arguments`.

    What it is given to read is protected from what it writes, see `mnemic_kit.made_files`.
    """
    given = read_arguments(function, program, arguments)
    values = [value for name, value in given.arguments.items() if name not in OUTPUTS]
    items = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    options = given.signature.parameters
    places = [given.arguments.get(name, options[name].default) for name in OUTPUTS & options.keys()]
    outputs = [place for place in places if isinstance(place, Path)]
    with protecting(Path(item) for item in items if isinstance(item, (str, Path))), removing_empty(outputs):
        function(*given.args, **given.kwargs)


def read_arguments(function: Callable[..., object], program: str, arguments: Sequence[str]) -> BoundArguments:
    """Return the arguments of a function that a command line gives.

    Parameters before the ``/`` of the signature are given by position, behind ``--`` also those that begin with a dash,
    all others as options: ``--max_size 3``, also spelled ``--max-size=3``. Lists take words (``--seeds 0 1 2``) or JSON
    (``--seeds "[0, 1, 2]"``), options that may be None also ``null``, and switches, which are False by default, no
    value.

    Args:
        function: its annotations are the types and its docstring is the help; annotations may be `str`, `int`,
            `float`, `bool`, `Path`, literals, a literal or `int`, `OneOf`, tuples and sequences of these, and each of
            them or None.
        program: what the user typed: program and command.
        arguments: what follows it.

    Raises:
        UserError: if they do not fit the function.
        SystemExit: after the help page, if that is what they ask for.
    """
    parser, form = make_parser(function, program), signature(function)
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)  # what follows are no options, whatever it starts with
    words = [*map(_underscored, words[:end]), *(_NO_OPTION + word for word in words[end + 1 :])]
    given = vars(parser.parse_intermixed_args(words))  # files between options
    return BoundArguments(form, {name: given[name] for name in form.parameters if name in given})


def make_parser(function: Callable[..., object], program: str) -> argparse.ArgumentParser:
    """Return the parser of a function's command line."""
    text, helps = _split_docstring(function.__doc__ or "")
    parser = _Parser(prog=program, description=text, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    hints = get_type_hints(function, include_extras=True)
    # SUPPRESS leaves out what is not given, so that the function's own defaults apply.
    for name, parameter in signature(function).parameters.items():
        explained, is_required = helps.get(name, ""), parameter.default is Parameter.empty
        if hints[name] is bool:
            parser.add_argument(f"--{name}", action="store_true", help=explained)
            continue
        reader = _Reader.of(hints[name])
        settings: dict[str, Any] = {"type": reader, "nargs": None}
        if reader.is_list:
            settings |= {"nargs": "*", "action": _Items, "const": reader.length}
        settings["help"] = explained + reader.names_for_help() + _default_for_help(parameter.default)
        if parameter.kind is not Parameter.POSITIONAL_ONLY:
            metavar = reader.metavar or name.upper()
            added = parser.add_argument(f"--{name}", required=is_required, metavar=metavar, **settings)
            if isinstance(added, _Items):
                added.is_empty_allowed = parameter.default in ((), None)
        else:
            settings["nargs"] = settings["nargs"] or (None if is_required else "?")
            parser.add_argument(name, **settings)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}; {self.prog} --help explains all options")


class _Items(argparse.Action):
    """Keeps the values of all words as a tuple, of which ``const`` is the length; None: any length."""

    is_empty_allowed = True  # of options: where the default is empty

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: object = None) -> None:
        items = [item for value in values for item in (value if isinstance(value, list) else (value,))]
        if not items and option and not self.is_empty_allowed:
            raise argparse.ArgumentError(self, "takes at least one value, got none")
        if self.const not in {None, len(items)}:
            raise argparse.ArgumentError(self, f"takes {self.const} values, got {len(items)}")
        setattr(namespace, self.dest, tuple(items))


@dataclass(frozen=True)
class _Reader:
    """Reads one word of an argument.

    Attributes:
        kind: type of the value.
        allowed: the words that are allowed; None: all.
        names: words that stand for themselves beside values of ``kind``.
        is_list: several words, or a JSON list in one word, are allowed.
        length: of the list; None: any.
        is_optional: ``null`` is allowed.
    """

    kind: Callable[[str], Any]
    allowed: tuple[str, ...] | OneOf | None
    names: tuple[str, ...]
    is_list: bool
    length: int | None
    is_optional: bool

    @classmethod
    def of(cls, hint: Any) -> "_Reader":
        """Return the reader for an annotation."""
        union = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
        kinds = [each for each in union if each is not NoneType]
        names = [each for each in kinds if len(kinds) > 1 and get_origin(each) is Literal]
        (kind,) = (each for each in kinds if each not in names)
        is_list, items = get_origin(kind) in {tuple, Sequence}, get_args(kind)
        length = len(items) if get_origin(kind) is tuple and Ellipsis not in items else None
        kind, allowed = items[0] if is_list else kind, None
        if get_origin(kind) is Literal:
            kind, allowed = str, get_args(kind)
        elif get_origin(kind) is Annotated:
            kind, allowed = get_args(kind)
        return cls(kind, allowed, get_args(names[0]) if names else (), is_list, length, NoneType in union)

    def __call__(self, word: str) -> Any:
        """Return the value of a word; of a JSON list the list of values."""
        word = word.removeprefix(_NO_OPTION)
        if self.is_optional and word == "null":
            return None
        if not (self.is_list and word.startswith("[")):
            return self._read_item(word)
        try:
            return [self._read_item(str(item)) for item in json.loads(word)]
        except json.JSONDecodeError as error:
            raise argparse.ArgumentTypeError(f"{word} is not a list: {error}") from error

    def _read_item(self, word: str) -> Any:
        allowed = self.allowed.names() if isinstance(self.allowed, OneOf) else self.allowed
        if allowed is not None and word not in allowed:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(allowed)}, got {word!r}")
        if word in self.names:
            return word
        try:
            return self.kind(word)
        except ValueError:
            expected = " or ".join([*self.names, _EXPECTED[self.kind]])
            raise argparse.ArgumentTypeError(f"must be {expected}, got {word!r}") from None

    @property
    def metavar(self) -> str | None:
        """What the help calls the value; None: like the option."""
        value = _METAVARS.get(self.kind)
        choices = self.allowed if isinstance(self.allowed, tuple) else (*self.names, value or "")
        return "{" + ",".join(choices) + "}" if len(choices) > 1 else value

    def names_for_help(self) -> str:
        """Return the names that are looked up, for the end of a help text."""
        return f"; one of {', '.join(self.allowed.names())}" if isinstance(self.allowed, OneOf) else ""


def _underscored(word: str) -> str:
    """Allow ``--max-size`` for ``--max_size``."""
    name, equals, value = word.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word


def _split_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text before the section of the arguments, and the text of each argument."""
    text, _, section = cleandoc(docstring).replace("``", "").partition("\n\nArgs:\n")
    lines = re.split(r"^(?=\S)", section, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", lines, re.MULTILINE)
    return text, {name: " ".join(words.split()).rstrip(".").replace("%", "%%") for name, words in entries}


def _default_for_help(value: object) -> str:
    if value is Parameter.empty:
        return " (required)"
    if value in (None, (), ""):  # the docstring explains what these mean
        return ""
    return f" (default: {' '.join(map(str, value)) if isinstance(value, (tuple, list)) else value})"
