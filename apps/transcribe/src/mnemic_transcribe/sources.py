"""Sources of utterances: recordings in any layout, strings of spoken digits, or generated tones."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError
from mnemic_speech.data import read_corpus
from mnemic_speech.data.batching import Clip
from mnemic_speech.data.tones import ToneWorld
from mnemic_speech.text import TextStyle, normalize_text
from mnemic_transcribe.digits import read_digit_strings
from mnemic_transcribe.drawn_digits import Drawn


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
        """Return the utterances with texts in a style.

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
            return [replace(each, text=normalize_text(each.text, style)) for each in found]
        strings = read_digit_strings(self.root, self.split)
        strings = self.drawn.strings(strings) if self.drawn.num_strings else strings
        return [replace(each, text=normalize_text(each.text, style)) for each in strings]
