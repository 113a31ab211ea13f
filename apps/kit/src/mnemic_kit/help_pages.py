"""Help pages that take seconds to make, kept from one call to the next.

A training command's page is made of the signatures of task, data, trainer and callbacks, so that all of them have to be
imported first. It is kept in ``~/.cache/mnemic`` until a source file of ours or the version of a library changes.
"""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from uuid import uuid4


def show_page(program: str, make: Callable[[], object]) -> None:
    """Print a help page that was kept, or make and keep it.

    Args:
        program: what the user typed: program and command.
        make: prints the page and ends with `SystemExit`.

    Raises:
        SystemExit: what ``make`` ended with when it failed.
    """
    file = _folder() / f"{_key(program)}.txt"
    if not file.is_file():
        _keep(file, _printed(make))
    sys.stdout.write(file.read_text("utf-8"))


def _printed(make: Callable[[], object]) -> str:
    page = io.StringIO()
    try:
        with redirect_stdout(page):
            make()
    except SystemExit as request:
        if request.code:
            raise
    return page.getvalue()


def _keep(file: Path, page: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid4().hex}.tmp")
    temporary.write_text(page, "utf-8")
    temporary.replace(file)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnemic" / "help"


def _key(program: str) -> str:
    """Return what changes when the page may have changed."""
    places = [Path(folder) for folder in sys.path if folder]
    versions = [path.name for place in places for path in place.glob("*.dist-info")]
    sources = [(path, path.stat()) for place in places for path in place.glob("mnemic_*/**/*.py")]
    states = [f"{path} {state.st_mtime_ns} {state.st_size}" for path, state in sources]
    facts = [program, sys.version, str(shutil.get_terminal_size().columns), *sorted(versions), *sorted(states)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
