"""Writing files so that a crash, a kill or a full disk never damages an earlier result."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import IO, Any, Literal
from uuid import uuid4

from mnemic_kit.made_files import check_outputs, note_output

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
    check_outputs(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    encoding, newline = ("utf-8", "\n") if mode == "w" else (None, None)
    try:
        with temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the content does
        note_output(path, temporary)  # first: an unlisted file could never be replaced
        temporary.replace(path)
    except OSError as error:
        # A file name is present when the error belongs to another file that was written inside the block.
        if error.errno not in _OUT_OF_SPACE or error.filename is not None:
            raise
        raise OSError(error.errno, "disk full; free some space, the earlier file is unchanged", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(folder: Path, made: Path) -> None:
    """Put a complete folder in the place of an earlier one, if there is one.

    Args:
        folder: its place; a command has asked `check_outputs` for it.
        made: the folder under its temporary name, on the same disk.
    """
    note_output(folder, made)  # first: an unlisted folder could never be replaced
    if folder.exists():
        rmtree(folder)
    made.rename(folder)
