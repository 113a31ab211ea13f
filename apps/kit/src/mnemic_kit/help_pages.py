"""Help pages that take seconds to make, cached in ``~/.cache/mnemic``.

The page of a training command is made from the signatures of task, data, trainer and callbacks. Importing Lightning
takes three times as long as importing torch, so the page is kept until a source file of ours or a library changes.
"""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import mnemic_core
from mnemic_kit.atomic_files import atomic_write


def show_page(program: str, make: Callable[[], object]) -> None:
    """Print a cached help page, or make and cache it.

    Args:
        program: what the user typed: program and command.
        make: prints the page and ends with `SystemExit`, which is raised again if it reports a failure.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnemic" / "help"
    file = folder / f"{_key(program)}.txt"
    if not file.is_file():
        page = io.StringIO()
        try:
            with redirect_stdout(page):
                make()
        except SystemExit as request:
            if request.code:
                raise
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as cached:
            cached.write(page.getvalue())
    sys.stdout.write(file.read_text("utf-8"))


def _key(program: str) -> str:
    """Return a digest of all that the page depends on."""
    places = [Path(folder) for folder in sys.path if folder]
    versions = [path.name for place in places for path in place.glob("*.dist-info")]
    # Memories may also be in folders that only this process knows.
    folders = {folder for place in places for folder in place.glob("mnemic_*")} | {*map(Path, mnemic_core.__path__)}
    sources = [(path, path.stat()) for folder in folders for path in folder.rglob("*.py")]
    states = [f"{path} {state.st_mtime_ns} {state.st_size}" for path, state in sources]
    facts = [program, sys.version, str(shutil.get_terminal_size().columns), *sorted(versions), *sorted(states)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
