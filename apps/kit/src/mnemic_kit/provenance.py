"""What made a checkpoint: versions, revision, seed."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def provenance(package: str, folder: Path, **facts: object) -> dict[str, object]:
    """Return the given facts with the version of a package and, in a git checkout, the revision of its code.

    Args:
        package: name of the distribution.
        folder: where its code lies.
        facts: what else is known, such as seed, data, step and validation figures; plain values only, since
            checkpoints are read without running code.
    """
    try:
        number = version(package)
    except PackageNotFoundError:  # run from a source folder that is not installed
        number = None
    return {"package": package, "version": number, "revision": _revision(folder)} | facts


def _revision(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "log", "-1", "--format=%H", "--", "."]  # empty answer: not in this checkout
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
