"""Files and folders under temporary names until they are complete."""

import os
import platform
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_NAME = re.compile(rf"\.mnemic-{_HOST}-(\d+)-[0-9a-f]{{8}}\.tmp(\.\w+)?")  # of this machine
_made: set[Path] = set()  # by this process, and not complete yet
_swept: set[Path] = set()  # folders


def temporary_path(path: Path) -> Path:
    """Return a free name in the folder of a path, with the same ending, for its content until that is complete.

    What processes of this machine that were killed left in the folder under such names is removed, once.
    """
    folder = path.parent
    if folder.absolute() not in _swept:
        _swept.add(folder.absolute())
        _sweep(folder)
    ending = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix) else ""
    # Not the name of the file: with more characters it could be too long.
    temporary = path.with_name(f".mnemic-{_HOST}-{os.getpid()}-{uuid4().hex[:8]}.tmp{ending}")
    _made.add(temporary.absolute())
    return temporary


def remove(path: Path) -> None:
    """Remove a file or folder; one that is absent is no error."""
    _made.discard(path.absolute())
    if path.is_dir() and not path.is_symlink():
        rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name for a file or a folder; renames it after the block, or removes it on failure.

    A file replaces an earlier one, a folder does not.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        remove(temporary)


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = _NAME.fullmatch(entry.name)
            if found and Path(entry.path).absolute() not in _made and not _is_other_process(int(found[1])):
                remove(Path(entry.path))


def _is_other_process(number: int) -> bool:
    """Return whether a number is that of another process that is alive; on Windows, where asking ends it, True."""
    if number == os.getpid():
        return False
    try:
        if os.name == "posix":
            os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True
