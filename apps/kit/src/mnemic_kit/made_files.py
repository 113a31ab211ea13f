"""Commands write over files that they made and over no others, neither their inputs nor foreign files.

Every folder of results has a list ``.mnemic`` of what was written there, as ``sha256sum`` prints it. While a command
runs, `check_outputs` refuses a file, or a folder that is not empty, unless it is on the list with its present content.
`mnemic_kit.atomic_files.atomic_write` asks and notes by itself; what other packages write is asked for and noted by the
command. Outside a command, that is, in code that calls a function, nothing is refused.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError

LIST = ".mnemic"
_ENTRY = re.compile(r".{64}  .")
_TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape"}  # names of files are bytes, not always UTF-8
_inputs: ContextVar[tuple[Path, ...] | None] = ContextVar("inputs", default=None)


@contextmanager
def protecting(inputs: Iterable[Path]) -> Iterator[None]:
    """Protect the given inputs, as far as they exist, and files of others from what is written in the block."""
    token = _inputs.set(tuple(path for path in inputs if path.is_file()))
    try:
        yield
    finally:
        _inputs.reset(token)


@contextmanager
def removing_empty(folders: Iterable[Path]) -> Iterator[None]:
    """Remove those of the given folders that are made in the block and are still empty when it fails."""
    absent = absent_folders(*folders)
    try:
        yield
    except BaseException:
        remove_empty(absent)
        raise


def absent_folders(*folders: Path) -> list[Path]:
    """Return those of the folders, and of the folders that they are in, that do not exist; the innermost first."""
    absent = {parent for folder in folders for parent in (folder, *folder.parents) if not parent.exists()}
    return sorted(absent, key=lambda folder: -len(folder.parts))


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders that exist and are empty."""
    for folder in folders:
        with suppress(OSError):  # not made, a file, or not empty
            folder.rmdir()


def check_outputs(*paths: Path) -> None:
    """Refuse to write files, before the work begins.

    Raises:
        UserError: if one is an input of the command, also under another name, or exists and was not made by a command.
    """
    inputs = _inputs.get()
    if inputs is None:
        return
    for path in paths:
        listed = _read_list(path.parent)
        if not path.is_symlink() and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
            continue
        if any(path.exists() and path.samefile(given) for given in inputs):
            raise UserError(f"{path} is an input of this command and would be replaced; give another --out")
        if path.is_symlink() or _line(path, path) not in listed:
            raise UserError(f"{path} exists and was not made by this program; give another --out, or move it away")


def note_output(path: Path, content: Path | None = None) -> None:
    """Note that a command makes a file or folder.

    Args:
        path: its place.
        content: the complete file under its temporary name. Noting it before renaming keeps a kill between the two from
            leaving a file that no command may replace.
    """
    if _inputs.get() is not None:
        with (path.parent / LIST).open("a", **_TEXT) as file:  # one write: several commands may append
            file.write(_line(path, content or path) + "\n")


def _read_list(folder: Path) -> list[str]:
    """Return the lines of the list in a folder, none if there is none.

    Raises:
        UserError: if a file of that name is something else, to which nothing may be added.
    """
    path = folder / LIST
    if not path.exists():
        return []
    *lines, end = path.read_text(**_TEXT).split("\n") if path.is_file() else ["no file"]
    if end or not all(map(_ENTRY.match, lines)):
        raise UserError(f"{path} is not a list of files that this program made; give another --out, or move it away")
    return lines


def _line(path: Path, content: Path) -> str:
    name = path.name.replace("\n", "\\n")
    return f"{_digest(content)}  {name}"


def _digest(content: Path) -> str:
    """Return the digest of a file, or of the names and digests of all files in a folder."""
    if content.is_dir():
        files = sorted(path for path in content.rglob("*") if path.is_file())
        listing = "".join(f"{_digest(path)}  {path.relative_to(content).as_posix()}\n" for path in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
