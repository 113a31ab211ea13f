"""Writing files and folders so that a crash, a kill or a full disk never damages an earlier result."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, Literal

from mnemic_core.temporary_files import remove, temporary_path
from mnemic_kit.made_files import check_outputs, note_output

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_complete: ContextVar[dict[Path, Path] | None] = ContextVar("complete", default=None)  # by their place


@contextmanager
def writing_together() -> Iterator[None]:
    """Let the files that are written in the block appear when it ends, all of them or, if it fails, none.

    A block within another one belongs to it.
    """
    if _complete.get() is not None:
        yield
        return
    waiting: dict[Path, Path] = {}
    token = _complete.set(waiting)
    try:
        yield
        for path, temporary in waiting.items():
            _put(temporary, path)
    finally:
        _complete.reset(token)
        for temporary in waiting.values():
            remove(temporary)


@contextmanager
def atomic_write(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    r"""Open a file that appears under its name only when it is complete.

    The content goes to a temporary name in the same folder, is flushed to the disk and then renamed. When the block
    fails, the temporary file is removed and the earlier file stays as it was.

    Args:
        path: the file to write; its folder must exist.
        mode: ``"w"`` for UTF-8 text with ``\n`` line ends, ``"wb"`` for bytes.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: the folder does not exist.
        UserError: the file is not for the running command to write over, see `mnemic_kit.made_files`.
        OSError: the disk is full; the message names the file.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
        >>> with atomic_write(target) as file:
        ...     _ = file.write("hota 0.7")
        >>> target.read_text()
        'hota 0.7'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    encoding, newline = ("utf-8", "\n") if mode == "w" else (None, None)
    try:
        with atomic_path(path) as temporary, temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the content does
    except OSError as error:
        # A file name is present when the error belongs to another file that was written inside the block.
        if error.errno not in _OUT_OF_SPACE or error.filename is not None:
            raise
        raise OSError(error.errno, "disk full; free some space, the earlier file is unchanged", str(path)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name, with the same ending, for a file or folder that other code writes.

    After the block it gets its name, in the place of an earlier one; when the block fails, it is removed.

    Args:
        path: the file or folder to write; its folder must exist.

    Raises:
        UserError: it is not for the running command to write over, see `mnemic_kit.made_files`.
    """
    check_outputs(path)
    temporary, waiting = temporary_path(path), _complete.get()
    is_waiting = False
    try:
        yield temporary
        if waiting is None or temporary.is_dir():
            _put(temporary, path)
        else:
            is_waiting = True
            if earlier := waiting.pop(path, None):
                remove(earlier)
            waiting[path] = temporary
    finally:
        if not is_waiting:
            remove(temporary)


def _put(temporary: Path, path: Path) -> None:
    note_output(path, temporary)  # first: an unlisted file could never be replaced
    if temporary.is_dir():
        remove(path)
    temporary.replace(path)
