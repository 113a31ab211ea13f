"""Command lines made of the signature and the docstring of a function."""

from collections.abc import Callable, Collection
from inspect import signature
from itertools import zip_longest
from typing import Any

from jsonargparse import ArgumentParser


def call(function: Callable[..., Any], program: str, arguments: list[str], *, as_positional: bool = False) -> None:
    """Call a function with the arguments of a command line.

    Args:
        function: its signature gives the options, its docstring the help.
        program: what the user typed: program and command.
        arguments: what follows it.
        as_positional: give arguments without a default by place instead of by name.
    """
    text = (function.__doc__ or "").partition("\n")[0]
    parser = ArgumentParser(prog=program, description=text, exit_on_error=False)
    parser.add_function_arguments(function, as_positional=as_positional)
    switches = {f"--{name}" for name, option in signature(function).parameters.items() if option.default is False}
    words = [_underscored(word) for word in arguments]
    spelt = [
        f"{word}=true" if word in switches and following not in {"true", "false"} else word
        for word, following in zip_longest(words, words[1:])
    ]
    function(**parser.instantiate(parser.parse_args(spelt)))


def join_lists(arguments: list[str], names: Collection[str]) -> list[str]:
    """Return the arguments with ``--seeds 0 1 2`` in the form of a config, ``--seeds [0, 1, 2]``.

    Args:
        arguments: words of a command line.
        names: options that take lists, with their dashes; no value may begin with a dash.

    Example:
        >>> join_lists(["--seeds", "0", "1", "--out", "x"], {"--seeds"})
        ['--seeds', '[0, 1]', '--out', 'x']
    """
    joined: list[str] = []
    values: list[str] = []
    for word in [*arguments, "--"]:
        if joined and joined[-1] in names and not word.startswith("-"):
            values.append(word)
            continue
        if values:
            is_list = len(values) == 1 and values[0].startswith("[")
            joined.append(values[0] if is_list else f"[{', '.join(values)}]")
            values = []
        joined.append(word)
    return joined[:-1]


def _underscored(word: str) -> str:
    """Allow ``--max-size`` for ``--max_size``."""
    name, equals, value = word.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word
