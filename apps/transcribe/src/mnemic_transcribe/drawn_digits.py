"""Random strings of spoken digits, drawn from the takes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path

import numpy as np

from mnemic_core.errors import UserError, check_range
from mnemic_speech.audio import audio_duration
from mnemic_transcribe.digits import DigitString, DigitTake


@dataclass(frozen=True)
class Drawn:
    """Number and lengths of the strings to draw.

    Args:
        num_strings: number of strings; 0: use those of the data set.
        min_digits: fewest digits in a string.
        max_digits: most digits in a string.
        seed: of the drawing.
    """

    num_strings: int = 0
    min_digits: int = 1
    max_digits: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_strings < 0 or not 1 <= self.min_digits <= self.max_digits:
            raise UserError(
                "expected num_strings of at least 0 and 1 <= min_digits <= max_digits, "
                f"got {self.num_strings}, {self.min_digits} and {self.max_digits}"
            )
        check_range(self, 0, inf, "seed")

    def strings(self, listed: Sequence[DigitString]) -> list[DigitString]:
        """Return random strings with the takes, pauses and speakers of those of one split.

        Raises:
            FileNotFoundError: if a take is missing.
        """
        takes = _takes(listed)  # sorted, as the drawing must not depend on the order of the list
        pauses = sorted({take.pause_ms for string in listed for take in string.takes})
        leads = sorted({string.lead_ms for string in listed})
        speakers = sorted(takes)
        random = np.random.default_rng(self.seed)
        drawn = []
        for number in range(self.num_strings):
            speaker = speakers[random.integers(len(speakers))]
            count = int(random.integers(self.min_digits, self.max_digits + 1))
            words = sorted(takes[speaker])
            spoken = [words[index] for index in random.integers(len(words), size=count)]
            paths = [takes[speaker][word][random.integers(len(takes[speaker][word]))] for word in spoken]
            parts = [DigitTake(path, pauses[random.integers(len(pauses))]) for path in paths]
            lead = leads[random.integers(len(leads))]
            # Pauses and lead are in milliseconds.
            seconds = (lead + sum(part.pause_ms for part in parts)) / 1000 + sum(map(_duration, paths))
            name = f"{listed[0].split}_drawn_{self.seed}_{number:05d}"
            drawn.append(DigitString(name, listed[0].split, speaker, " ".join(spoken), seconds, lead, tuple(parts)))
        return drawn


def _takes(listed: Sequence[DigitString]) -> dict[str, dict[str, list[Path]]]:
    """Return the takes by speaker and word."""
    found: dict[str, dict[str, set[Path]]] = {}
    for string in listed:
        for word, take in zip(string.text.split(), string.takes, strict=True):
            found.setdefault(string.speaker, {}).setdefault(word, set()).add(take.path)
    return {speaker: {word: sorted(paths) for word, paths in words.items()} for speaker, words in sorted(found.items())}


@cache  # takes recur in many strings
def _duration(path: Path) -> float:
    return audio_duration(path)
