"""Reading JSON files of others strictly, with one line for what is wrong."""

import json
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, with all numbers as floats: whole ones may be longer than any float.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: it is no complete JSON, or names a field of an object twice, of which Python keeps the last value
            without a word.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> _ = path.write_text('{"clip": [1, 2.5]}')
        >>> read_json(path)
        {'clip': [1.0, 2.5]}
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique, parse_int=float)
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    except JSONDecodeError as error:
        raise UserError(f"{path} is not complete JSON ({error}): write or copy it again") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file: choose another file") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"has {twice!r} twice in one object; names must differ")
    return content
