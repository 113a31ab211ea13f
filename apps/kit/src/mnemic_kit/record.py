"""Results that carry the settings that made them.

Commands that write to a folder, or continue what is there, open a `Record` first. Without it a second call with other
options would show the earlier results under the new options.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_kit.output import dumps, write_json

SHOWN = 4  # differences that a message names


@dataclass(frozen=True)
class Record:
    """A JSON file with results and, under ``settings``, what made them.

    Args:
        path: the file; its folder must exist when it is written.
        settings: everything that decides the results, as plain data: options, and for files that can change the
            digest of their content, see `content_digest`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "scores.json")
        ...     Record(path, {"batch_size": 2}).write({"accuracy": 0.5})
        ...     Record(path, {"batch_size": 2}).read()["accuracy"]
        0.5
    """

    path: Path
    settings: Mapping[str, Any]

    def read(self) -> dict[str, Any] | None:
        """Return what the file holds, None if there is no file.

        Raises:
            UserError: if the file was made with other settings; the message names them.
        """
        if not self.path.exists():
            return None
        content = read_results(self.path)
        if found := difference(content["settings"], self.settings):
            raise UserError(f"{self.path} was made with other settings ({found}); give another --out")
        return content

    def write(self, results: Mapping[str, Any]) -> None:
        """Replace the file by these results with the settings."""
        write_json(self.path, {"settings": self.settings, **results})


def open_record(path: Path, program: str, options: Mapping[str, Any], files: Mapping[str, Path | None]) -> Record:
    """Return the record of a command that writes its results to a folder, which is made when absent.

    Args:
        path: the file of results.
        program: distribution of the app.
        options: options of the command that decide the results.
        files: inputs by the names of their options, files or folders; what counts is their content, not their place.

    Raises:
        UserError: if the file was made with other settings.
        FileNotFoundError: if an input does not exist.
    """
    inputs = {name: None if file is None else f"{file.name} {content_digest(file)}" for name, file in files.items()}
    record = Record(path, {**program_version(program), **options, **inputs})
    record.read()
    path.parent.mkdir(parents=True, exist_ok=True)
    return record


def read_results(path: Path) -> dict[str, Any]:
    """Return the content of a file of results.

    Raises:
        UserError: if it is not JSON, or lacks the settings that made it.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # neither UTF-8 nor JSON
        raise UserError(f"{path} is not a file of results ({error}); give another --out") from error
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise UserError(f"{path} lacks the settings that made it; give another --out")
    return content


def program_version(program: str) -> dict[str, str]:
    """Return name and version of the program, a part of the settings."""
    return {"program": program, "version": version(program)}


def content_digest(path: Path) -> str:
    """Return a short digest of a file's content, or of the names and sizes of the files in a folder.

    Raises:
        FileNotFoundError: if there is nothing at the path.
    """
    if path.is_dir():
        listing = sorted(
            (str(file.relative_to(path)), file.stat().st_size) for file in path.rglob("*") if file.is_file()
        )
        return hashlib.sha256(dumps(listing).encode()).hexdigest()[:16]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return a description of how two settings differ; empty if they are equal.

    Example:
        >>> difference({"data": {"size": 2}, "seed": 0}, {"data": {"size": 3}, "seed": 0})
        'data.size: 2 there, 3 here'
        >>> difference({"options": ["--a=1", "--b=1"]}, {"options": ["--a=1", "--b=2"]})
        'options: --b=1 there, --b=2 here'
    """
    # Through JSON, as one of them was: tuples become lists and keys text.
    old, new = (dict(_leaves(json.loads(dumps(settings)))) for settings in (before, now))
    names = [name for name in {**old, **new} if old.get(name, ...) != new.get(name, ...)]
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    shown = [
        f"{name}: {' '.join(_only(old, new, name))} there, {' '.join(_only(new, old, name))} here"
        for name in names[:SHOWN]
    ]
    return "; ".join([*shown, *more])


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _only(settings: Mapping[str, Any], other: Mapping[str, Any], name: str) -> list[str]:
    """Return a value as words; of two lists those entries that the other one lacks."""
    value, compared = settings.get(name), other.get(name)
    if isinstance(value, list) and isinstance(compared, list):
        lacking = [entry for entry in value if entry not in compared]
        return [entry if isinstance(entry, str) else dumps(entry) for entry in lacking or value] or ["none"]
    return ["not set" if name not in settings else value if isinstance(value, str) else dumps(value)]
