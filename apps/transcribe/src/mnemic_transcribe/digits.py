"""Strings of spoken digits, concatenated from recorded takes."""

import csv
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import resample

from mnemic_core.errors import UserError
from mnemic_speech.audio import read_audio
from mnemic_speech.data.manifest import parse_rows

SAMPLE_RATE = 8000
_SAMPLES_PER_MS = SAMPLE_RATE // 1000
_COLUMNS = ("id", "split", "speaker", "seconds", "lead_ms", "parts", "text")


@dataclass(frozen=True)
class DigitTake:
    """A recorded digit and the pause after it.

    Args:
        path: recording of the digit.
        pause_ms: pause after it, milliseconds.
    """

    path: Path
    pause_ms: int


@dataclass(frozen=True)
class DigitString:
    """A string of digits of one speaker.

    Args:
        id: name of the string.
        split: ``train``, ``dev`` or ``dev_long``.
        speaker: name of the speaker.
        text: the digits as words.
        seconds: total duration.
        lead_ms: silence before the first digit, milliseconds.
        takes: the digits in order.
    """

    id: str
    split: str
    speaker: str
    text: str
    seconds: float
    lead_ms: int
    takes: tuple[DigitTake, ...]

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the rendered waveform; ``random`` seeds the noise of the pauses."""
        sound: Tensor = resample(render(self, seed=int(random.integers(2**31))), SAMPLE_RATE, sample_rate)
        return sound


def read_digit_strings(folder: str | Path, split: str | None = None) -> list[DigitString]:
    """Return the strings of ``strings.tsv``.

    Args:
        folder: holds ``strings.tsv`` and ``isolated/SPEAKER/DIGIT_SPEAKER_TAKE.flac``.
        split: only those of this split; None: all.

    Raises:
        FileNotFoundError: if there is no ``strings.tsv``.
        UserError: if a line is malformed, or if there is no such split.
    """
    path = Path(folder) / "strings.tsv"
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give the folder of the digit strings")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = ((reader.line_num, row) for row in reader)
        strings = parse_rows(path, rows, partial(_parse, folder=Path(folder) / "isolated"), None)
    chosen = [string for string in strings if split in (None, string.split)]
    if not chosen:
        splits = sorted({string.split for string in strings})
        raise UserError(f"{path} has no split {split!r}; it has {', '.join(splits)}")
    return chosen


def render(string: DigitString, *, noise: float = 0.002, seed: int = 0) -> Float[Tensor, " samples"]:
    """Return the waveform of a string at 8 kHz.

    Args:
        string: to render.
        noise: standard deviation of the white noise that fills the silences; 0 for zeros.
        seed: of the noise.

    Raises:
        FileNotFoundError: if a take is missing.
    """
    generator = torch.Generator().manual_seed(seed)

    def silence(milliseconds: int) -> Tensor:
        return noise * torch.randn(milliseconds * _SAMPLES_PER_MS, generator=generator)

    sounds = [sound for take in string.takes for sound in (_read_take(take.path), silence(take.pause_ms))]
    return torch.cat([silence(string.lead_ms), *sounds])


@cache  # all takes together are 42 MB
def _read_take(path: Path) -> Tensor:
    return read_audio(path, SAMPLE_RATE)


def _parse(row: dict[str, str | None], folder: Path) -> DigitString:
    if missing := [name for name in _COLUMNS if row.get(name) is None]:
        raise UserError(f"no {', '.join(missing)}: expected the columns {', '.join(_COLUMNS)}")
    values = {name: row[name] or "" for name in _COLUMNS}
    folder = folder / values["speaker"]
    parts = [part.partition(":") for part in values["parts"].split()]
    try:
        return DigitString(
            id=values["id"],
            split=values["split"],
            speaker=values["speaker"],
            text=values["text"],
            seconds=float(values["seconds"]),
            lead_ms=int(values["lead_ms"]),
            takes=tuple(DigitTake(folder / f"{name}.flac", int(pause)) for name, _, pause in parts),
        )
    except ValueError as error:
        raise UserError(f"{error}: expected numbers in seconds, lead_ms and parts, which are take:pause_ms") from error
