"""Metadata fields on the command line."""

from collections.abc import Sequence
from typing import cast, get_args

from mnemic_core.errors import UserError
from mnemic_retrieval.store import FieldType


def parse_fields(words: Sequence[str]) -> dict[str, FieldType] | None:
    """Return the type of each field by its name; None if there are no words.

    Raises:
        UserError: a word is not NAME:TYPE.

    Example:
        >>> parse_fields(["year:int"])
        {'year': 'int'}
    """
    found: dict[str, FieldType] = {}
    for word in words:
        name, _, kind = word.partition(":")
        if not name or kind not in get_args(FieldType):
            raise UserError(f"--fields takes NAME:TYPE with one of {', '.join(get_args(FieldType))}, got {word!r}")
        found[name] = cast(FieldType, kind)
    return found or None
