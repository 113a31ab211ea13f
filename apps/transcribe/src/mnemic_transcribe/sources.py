"""Sources of utterances: recordings in any layout, strings of spoken digits, or generated tones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import resample

from mnemic_core.errors import UserError
from mnemic_speech.text import TextStyle, normalize_text
from mnemic_transcribe.batching import Clip
from mnemic_transcribe.data import DigitString, Utterance, read_corpus, read_digit_strings, render
from mnemic_transcribe.data.digits import SAMPLE_RATE
from mnemic_transcribe.drawn_digits import Drawn
from mnemic_transcribe.tones import ToneWorld


@dataclass(frozen=True)
class RecordedClip:
    """An utterance of a recording.

    Args:
        utterance: file and range.
        text: normalized text.
    """

    utterance: Utterance
    text: str

    @property
    def id(self) -> str:
        """Name of the utterance."""
        return self.utterance.id

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.utterance.duration

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform; ``random`` is unused."""
        return self.utterance.read(sample_rate)


@dataclass(frozen=True)
class DigitClip:
    """A string of spoken digits, rendered when it is read.

    Args:
        string: the digits.
        text: normalized text.
    """

    string: DigitString
    text: str

    @property
    def id(self) -> str:
        """Name of the string."""
        return self.string.id

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.string.seconds

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform; ``random`` seeds the noise of the pauses."""
        sound: Tensor = resample(render(self.string, seed=int(random.integers(2**31))), SAMPLE_RATE, sample_rate)
        return sound


@dataclass(frozen=True)
class DataSource:
    """One source of a data mixture.

    Args:
        name: ``recordings`` are a manifest or the folder of a data set (LibriSpeech, TED-LIUM, Kaldi, ``index.tsv``),
            ``digits`` are strings of recorded digits, and ``generated`` needs no files.
        root: the manifest or folder.
        split: part of the data: a folder in ``root`` such as ``train-clean-100``, or a value of the column split.
        drawn: random strings from the takes of the split, instead of those listed.
        world: size and seed of a generated data set.
    """

    name: Literal["recordings", "digits", "generated"]
    root: Path | None = None
    split: str | None = None
    drawn: Drawn = field(default_factory=Drawn)
    world: ToneWorld = field(default_factory=ToneWorld)

    def __str__(self) -> str:
        """Return a short description."""
        if self.name == "generated":
            return f"generated {self.world}"
        drawn = f" {self.drawn}" if self.drawn.num_strings else ""
        return f"{self.name} {self.root}{f' {self.split}' if self.split else ''}{drawn}"

    def open(self, style: TextStyle) -> list[Clip]:
        """Return the utterances.

        Args:
            style: normalization of texts.

        Raises:
            FileNotFoundError: a folder or file is missing.
            UserError: a file is malformed, or ``root`` is not given.
        """
        if self.name == "generated":
            return list(self.world.clips())
        if self.root is None:
            raise UserError(f"data source {self.name} needs root, the folder of the data set")
        if self.name == "recordings":
            found = read_corpus(self.root, self.split)
            return [RecordedClip(utterance, normalize_text(utterance.text, style)) for utterance in found]
        strings = read_digit_strings(self.root, self.split)
        strings = self.drawn.strings(strings) if self.drawn.num_strings else strings
        return [DigitClip(string, normalize_text(string.text, style)) for string in strings]
