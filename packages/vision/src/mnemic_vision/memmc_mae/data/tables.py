"""Reading tables of text, with one line for what is wrong in them."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnemic_core.errors import UserError


def read_rows(path: Path, needed: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line (from 1) and the fields by column of each row; further columns are kept.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not text, lacks a column, or a row has too few or too many fields.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path} needs a column {missing[0]}, has {', '.join(reader.fieldnames or ['none'])}")
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} fields")
                yield reader.line_num, {name: value.strip() for name, value in row.items()}
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} is not a table of UTF-8 text: {error}") from error


def check_files(paths: Sequence[Path], table: Path) -> None:
    """Refuse a table that names files which do not exist.

    Raises:
        FileNotFoundError: naming the first one, and how many there are.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{table} lists {missing[0]}, which does not exist ({len(missing)} of {len(paths)} files)"
        )
