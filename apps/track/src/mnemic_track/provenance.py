"""What made a checkpoint: versions, revision, seed."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def provenance(**facts: object) -> dict[str, object]:
    """Return the given facts with the package version and, in a git checkout, the revision of the code.

    Args:
        facts: what else is known, such as seed, data, step and validation figures; plain values only, since
            checkpoints are read without running code.
    """
    try:
        package = version("mnemic-track")
    except PackageNotFoundError:  # run from a source folder that is not installed
        package = None
    return {"package": "mnemic-track", "version": package, "revision": _revision()} | facts


def _revision() -> str | None:
    folder = str(Path(__file__).parent)  # empty answer: the folder lies in a checkout of something else
    command = ["git", "-C", folder, "log", "-1", "--format=%H", "--", "."]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
