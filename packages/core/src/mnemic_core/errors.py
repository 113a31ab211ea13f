"""The exception for mistakes of the user, and checks that raise it."""

from collections.abc import Sequence
from math import inf, isfinite
from typing import Any, get_args


class UserError(ValueError):
    """Wrong input, settings or files: one line with what was expected, what was given and what to do.

    Programs print it and exit with code 2. Any other ``ValueError``, such as one raised by torch, is a defect and keeps
    its traceback.
    """


def check_range(settings: object, low: int | float, high: int | float, *names: str) -> None:
    """Refuse settings outside of a range, both ends included, and numbers that are not finite; None passes.

    Args:
        settings: object with the numbers, or sequences of numbers, as attributes.
        low: smallest allowed value.
        high: largest allowed value; ``math.inf`` for no limit.
        names: the attributes.

    Raises:
        UserError: for the first one outside.

    Example:
        >>> check_range(3 + 4j, 0, 3, "real", "imag")
        Traceback (most recent call last):
        mnemic_core.errors.UserError: imag must be between 0 and 3, got 4.0
    """
    for name in names:
        given = getattr(settings, name)
        for value in given if isinstance(given, Sequence) else (given,):
            if value is not None and not isfinite(value):
                raise UserError(f"{name} must be finite, got {given}")
            if value is not None and not low <= value <= high:
                expected = f"at least {low}" if high == inf else f"between {low} and {high}"
                raise UserError(f"{name} must be {expected}, got {given}")


def check_at_least(least: int | float, way_out: str = "", /, **settings: int | float | None) -> None:
    """Refuse settings below a limit; None passes.

    Args:
        least: smallest allowed value.
        way_out: what the message recommends instead.
        settings: by their names.

    Raises:
        UserError: naming the first one that is below.
    """
    for name, given in settings.items():
        if given is not None and not given >= least:  # written so that NaN is refused too
            raise UserError(f"{name} must be at least {least}, got {given}" + (f"; {way_out}" if way_out else ""))


def check_choice(options: Any, **settings: object) -> None:
    """Refuse settings that a ``Literal`` does not list.

    Raises:
        UserError: naming the first one with what it may be.
    """
    for name, given in settings.items():
        if given not in get_args(options):
            raise UserError(f"{name} must be one of {', '.join(map(str, get_args(options)))}, got {given!r}")


def check_heads(dim: int, num_heads: int) -> None:
    """Refuse a number of attention heads that does not divide the width.

    Raises:
        UserError: with both numbers.
    """
    if num_heads < 1 or dim % num_heads:
        raise UserError(f"num_heads must divide dim, got dim={dim}, num_heads={num_heads}")
