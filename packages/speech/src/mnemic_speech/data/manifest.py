"""Manifests: one JSON object per line and utterance, with NeMo's field names."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
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
        language: code of the language that is spoken; empty where not known.
        translations: the text in other languages, by their codes.
        features: file with its features, see `mnemic_speech.data.cached_features`.

    Raises:
        UserError: if the offset is negative or the duration not positive.
    """

    audio_filepath: Path
    duration: float
    text: str
    offset: float = 0.0
    id: str = ""
    speaker: str = ""
    language: str = ""
    translations: Mapping[str, str] = field(default_factory=dict, hash=False)
    features: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.offset < math.inf:
            raise UserError(f"offset {self.offset:g} s is not in the file: count seconds from its beginning, 0 or more")
        if not 0 < self.duration < math.inf:
            raise UserError(f"duration {self.duration:g} s is not positive: give the seconds of the utterance")

    @property
    def seconds(self) -> float:
        """Duration, under the name that all clips have."""
        return self.duration

    def in_language(self, code: str) -> "Utterance":
        """Return the utterance with its text in a language.

        Raises:
            UserError: if it is not spoken and not translated in that language, or has no words there.
        """
        text = self.text if code == self.language else self.translations.get(code, "")
        if text.strip():
            return replace(self, text=text)
        known = sorted({self.language, *self.translations} - {""})
        reason = "its text is empty" if code in known else f"it has {', '.join(known) or 'none with a language'}"
        raise UserError(f"{self.id or self.audio_filepath}: no text in {code!r}, {reason}")

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
    ``duration`` (default: read from the file), ``offset``, ``id``, ``speaker``, ``source_lang`` (of the text), the
    translation as ``target_text`` in ``target_lang`` or several as ``translations`` by language, and
    ``features_filepath``. Other fields are ignored. The range is only checked when audio is read.

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
    with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(manifest_lines(utterances, Path(path).parent))


def manifest_lines(utterances: Iterable[Utterance], folder: Path) -> Iterator[str]:
    """Yield the lines of a manifest that lies in a folder."""
    for utterance in utterances:
        yield json.dumps(_fields(utterance, folder.resolve()), ensure_ascii=False) + "\n"


def numbered_lines(path: Path, *, keep_blank: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers from 1.

    Args:
        path: the file.
        keep_blank: yield the blank ones too, but for the end of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an existing one")
    try:
        lines = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): convert it") from error
    for number, line in enumerate(lines, 1):
        if keep_blank or line.strip():
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
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"not JSON ({error}); a line is an object such as {_EXAMPLE}") from error
    if not isinstance(fields, dict):
        raise UserError(f"expected an object such as {_EXAMPLE}, got {line[:40]}")
    path = folder / _string(fields, "audio_filepath")
    utterance = utterance_of(
        path,
        _string(fields, "text"),
        _number(fields, "duration"),
        offset=_number(fields, "offset") or 0.0,
        name=_name(fields, "id", default=f"{path.stem}-{number}"),
        speaker=_name(fields, "speaker", default=""),
    )
    features = fields.get("features_filepath")
    return replace(
        utterance,
        language=_name(fields, "source_lang", default=""),
        translations=_translations(fields),
        features=None if features is None else folder / _string(fields, "features_filepath"),
    )


def _translations(fields: dict[str, Any]) -> dict[str, str]:
    """Return the texts in other languages by their codes."""
    found = fields.get("translations") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise UserError(f'translations {found!r} are not texts by language, such as {{"de": "HALLO"}}')
    if fields.get("target_text") is None:
        return found
    return {**found, _string(fields, "target_lang"): _string(fields, "target_text")}


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
    optional = {
        "offset": utterance.offset,
        "id": utterance.id,
        "speaker": utterance.speaker,
        "source_lang": utterance.language,
        "translations": dict(utterance.translations),
        "features_filepath": None if utterance.features is None else _relative(utterance.features, folder),
    }
    return {
        "audio_filepath": _relative(utterance.audio_filepath, folder),
        "duration": utterance.duration,
        "text": utterance.text,
    } | {name: value for name, value in optional.items() if value}


def _relative(path: Path, folder: Path) -> str:
    """Return a path from the folder of the manifest; files elsewhere keep absolute ones."""
    path = path.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
