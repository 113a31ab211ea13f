"""Reading JSON files of others strictly, with one line for what is wrong."""

import json
from collections import Counter
from collections.abc import Callable
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError


def read_json(path: Path, on_twice: Callable[[UserError], object] | None = None) -> Any:
    """Return the content of a JSON file, with all numbers as floats: whole ones may be longer than any float.

    Args:
        path: the file.
        on_twice: gets one line for each name that an object has twice, of which Python keeps the last value without a
            word; the object then lacks it. None: it is an error.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: it is no complete JSON, or an object has a name twice.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> _ = path.write_text('{"clip": [1, 2.5]}')
        >>> read_json(path)
        {'clip': [1.0, 2.5]}
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            for name in [name for name, number in Counter(name for name, _ in pairs).items() if number > 1]:
                problem = UserError(f"{path} has {name!r} twice in one object; names must differ")
                if on_twice is None:
                    raise problem
                on_twice(problem)
                del content[name]
        return content

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique, parse_int=float)
    except JSONDecodeError as error:
        raise UserError(f"{path} is not complete JSON ({error}): write or copy it again") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file: choose another file") from error
