"""Files with one JSON object a line, also compressed."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file


def read_json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each object is, for messages, and the object; ``.gz`` is decompressed, empty lines are left out.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a line is no JSON object, or the file is cut off.
    """
    check_file(path)
    with gzip.open(path, "rb") if Path(path).suffix == ".gz" else Path(path).open("rb") as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found = json.loads(line)
                    if not isinstance(found, dict):
                        raise UserError(f"{path}, line {number}: expected an object, got {type(found).__name__}")
                    yield f"{path}, line {number}", found
        except UserError:
            raise
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(f"{path} is cut off or damaged after line {number} ({error}): copy it again") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number} is no JSON ({error})") from error


@contextmanager
def named(place: str) -> Iterator[None]:
    """Turn what is missing or of another type in a record into a line that says where it is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{place} lacks something or is of another form ({error!r})") from error
