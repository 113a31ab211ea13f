"""Manifests: one JSON object per line and utterance, with NeMo's field names."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_speech.audio import audio_duration, read_audio

Row = TypeVar("Row")
Item = TypeVar("Item")
_EXAMPLE = '{"audio_filepath": "a.flac", "duration": 2.5, "text": "HELLO"}'


@dataclass(frozen=True)
class Utterance:
    """A recording, or a part of one, with its text.

    Args:
        audio_filepath: any file with audio.
        duration: seconds.
        text: as in the data set; empty without speech.
        offset: start of the utterance in the file, seconds.
        id: name of the utterance.
        speaker: name of the speaker; empty where not known.

    Raises:
        UserError: if the offset is negative or the duration not positive.
    """

    audio_filepath: Path
    duration: float
    text: str
    offset: float = 0.0
    id: str = ""
    speaker: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.offset < math.inf:
            raise UserError(f"offset {self.offset:g} s is not in the file: count seconds from its beginning, 0 or more")
        if not 0 < self.duration < math.inf:
            raise UserError(f"duration {self.duration:g} s is not positive: give the seconds of the utterance")

    @property
    def seconds(self) -> float:
        """Duration, under the name that all clips have."""
        return self.duration

    def read(self, sample_rate: int, random: np.random.Generator | None = None) -> Float[Tensor, " samples"]:
        """Return the waveform.

        Args:
            sample_rate: in Hz; a file of another rate is resampled.
            random: unused, since recordings are not generated.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is damaged, or ends before the utterance does.
        """
        return read_audio(self.audio_filepath, sample_rate, offset=self.offset, duration=self.duration)


def utterance_of(
    path: Path, text: str, duration: float | None = None, *, offset: float = 0.0, name: str, speaker: str = ""
) -> Utterance:
    """Return an utterance; without a duration it lasts to the end of the file.

    Raises:
        FileNotFoundError: if the file is needed and missing.
        UserError: if the file ends before the utterance begins.
    """
    if duration is None:
        duration = audio_duration(path) - offset
        if duration <= 0:
            raise UserError(f"offset {offset:g} s is at or after the end of {path} at {duration + offset:g} s")
    return Utterance(path, duration, text, offset, name, speaker)


def read_manifest(path: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a manifest.

    A line is an object with ``audio_filepath`` (relative to the manifest) and ``text``; further fields are
    ``duration`` (default: read from the file), ``offset``, ``id`` and ``speaker``. Other fields are ignored. The range
    is only checked when audio is read.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the file is not text, or a line is wrong and no list of problems is given, see `parse_rows`.
    """
    path = Path(path)
    rows = ((number, (number, line)) for number, line in numbered_lines(path))
    return parse_rows(path, rows, partial(_parse, folder=path.parent), problems)


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically.

    Paths of files in its folder become relative, so that the folder can be moved.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    folder = Path(path).resolve().parent
    with atomic_write(path) as file:
        for utterance in utterances:
            file.write(json.dumps(_fields(utterance, folder), ensure_ascii=False) + "\n")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers from 1.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an existing one")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): convert it") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line.strip()


def parse_rows(
    path: Path, rows: Iterable[tuple[int, Row]], parse: Callable[[Row], Item], problems: list[str] | None
) -> list[Item]:
    """Return what the rows of a file stand for.

    Args:
        path: the file.
        rows: with their line numbers.
        parse: converts one row.
        problems: wrong rows are skipped and described here, with file and line; None: the first one is an error.

    Raises:
        UserError: if a row is wrong.
    """
    found = []
    for number, row in rows:
        try:
            found.append(parse(row))
        except (ValueError, FileNotFoundError) as error:
            message = f"{path}:{number}: {error}"
            if problems is None:
                raise UserError(message) from error
            problems.append(message)
    return found


def _parse(numbered: tuple[int, str], folder: Path) -> Utterance:
    number, line = numbered
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON ({error}); a line is an object such as {_EXAMPLE}") from error
    if not isinstance(fields, dict):
        raise UserError(f"expected an object such as {_EXAMPLE}, got {line[:40]}")
    path = folder / _string(fields, "audio_filepath")
    return utterance_of(
        path,
        _string(fields, "text"),
        _number(fields, "duration"),
        offset=_number(fields, "offset") or 0.0,
        name=_name(fields, "id", default=f"{path.stem}-{number}"),
        speaker=_name(fields, "speaker", default=""),
    )


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        hint = ' ("" without speech)' if name == "text" else ""
        raise UserError(f"no {name}: give it as a string{hint}, as in {_EXAMPLE}")
    return value


def _name(fields: dict[str, Any], name: str, default: str) -> str:
    value = fields.get(name)
    return default if value is None else str(value)  # numbers are allowed as names


def _number(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise UserError(f"{name} {value!r} is not a number: give seconds, without quotes")
    return None if value is None else float(value)


def _fields(utterance: Utterance, folder: Path) -> dict[str, Any]:
    # Files outside of the folder of the manifest keep absolute paths.
    path = utterance.audio_filepath.resolve()
    optional = {"offset": utterance.offset, "id": utterance.id, "speaker": utterance.speaker}
    return {
        "audio_filepath": path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path),
        "duration": utterance.duration,
        "text": utterance.text,
    } | {name: value for name, value in optional.items() if value}
