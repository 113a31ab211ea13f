"""Sources of utterances with translations: recordings in any layout, or generated tones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from mnemic_core.errors import UserError
from mnemic_speech.data.batching import Clip
from mnemic_speech.data.tones import ToneLanguage, ToneWorld
from mnemic_speech.data.translations import read_translations


@dataclass(frozen=True)
class DataSource:
    """One source of a data mixture.

    Args:
        name: ``recordings`` are a manifest, a table or the folder of a data set (MuST-C, CoVoST 2); ``generated`` are
            tones of telephone keys, which need no files.
        root: the manifest, table or folder.
        split: part of MuST-C, such as ``train`` or ``tst-COMMON``.
        world: size and seed of a generated data set.
    """

    name: Literal["recordings", "generated"]
    root: Path | None = None
    split: str | None = None
    world: ToneWorld = field(default_factory=ToneWorld)

    def __str__(self) -> str:
        """Return a short description."""
        if self.name == "generated":
            return f"generated {self.world}"
        return f"{self.name} {self.root}{f' {self.split}' if self.split else ''}"

    def open(self, spoken: str, written: str) -> list[Clip]:
        """Return the utterances with texts in a language.

        Raises:
            FileNotFoundError: a folder or file is missing.
            UserError: a file is malformed, ``root`` is not given, or there are no texts in that language.
        """
        if self.name == "generated":
            if written not in get_args(ToneLanguage):
                raise UserError(
                    f"generated tones have texts in {' and '.join(get_args(ToneLanguage))}, not {written!r}"
                )
            return list(self.world.clips(cast(ToneLanguage, written)))
        if self.root is None:
            raise UserError(f"data source {self.name} needs root, the manifest or folder of the data set")
        return list(read_translations(self.root, spoken, written, self.split))
