"""The folder of a training: where its checkpoints are, who may write to it, and starting or continuing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from mnemic_core.errors import UserError
from mnemic_kit.made_files import absent_folders, remove_empty

Fitted = TypeVar("Fitted")


def checkpoint_path(folder: str | Path, name: str = "last") -> Path:
    """Return where a training has its checkpoint ``last``, to resume from, or ``best``, with the best validation."""
    return Path(folder, "checkpoints", f"{name}.ckpt")


def fit_or_resume(train: Callable[[str, list[str]], Fitted], arguments: list[str], folder: Path) -> Fitted:
    """Train in a folder, or continue the training that an earlier call began there.

    Args:
        train: the ``main`` of an app's ``train`` module; its result is returned.
        arguments: options of fit, without the folder.
        folder: ``trainer.default_root_dir``.
    """
    resume = ["--resume"] if checkpoint_path(folder).is_file() else []
    return train("fit", [*arguments, f"--trainer.default_root_dir={folder}", *resume])


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made when absent, for one training; the lock ends with the process, even when it is killed.

    What is made for it is removed if nothing else is there at the end.

    Raises:
        UserError: another training holds the folder, or a file of others has the name of the lock.
    """
    absent = absent_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fit.lock"
    if path.is_symlink() or path.is_dir() or (path.exists() and path.stat().st_size):  # locking would empty the file
        raise UserError(
            f"{path} exists and was not made by this program; move it away, or give another --trainer.default_root_dir"
        )
    lock = FileLock(path)  # the system releases it when the process is killed
    try:
        held = lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"another fit is training in {folder}: wait for its end, or give another --trainer.default_root_dir"
        ) from error
    with held:
        try:
            yield
        finally:
            if absent and list(folder.iterdir()) == [path]:
                path.unlink()
                remove_empty(absent)
