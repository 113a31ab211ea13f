"""Generated data for tests and first runs: tones of telephone keys, with the names of the keys as text."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range

# Two tones of a key in Hz, ITU-T Recommendation Q.23.
_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)
_KEYS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "star", "zero", "pound")
_GERMAN = ("eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "stern", "null", "raute")
WORDS = tuple(sorted(_KEYS))
GERMAN_WORDS = tuple(sorted((*_GERMAN, "und")))

ToneLanguage: TypeAlias = Literal["en", "de"]


@dataclass(frozen=True)
class ToneWorld:
    """A generated data set, determined by its settings.

    Args:
        num_clips: number of utterances.
        min_words: fewest keys in an utterance.
        max_words: most keys in an utterance.
        noise: standard deviation of the noise; tones have amplitudes from 0.05 to 0.5.
        seed: should differ between training and validation.
    """

    num_clips: int = 256
    min_words: int = 1
    max_words: int = 7
    noise: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_clips")
        if not 1 <= self.min_words <= self.max_words:
            raise UserError(f"expected 1 <= min_words <= max_words, got {self.min_words} and {self.max_words}")
        check_range(self, 0, inf, "noise", "seed")

    def clips(self, language: ToneLanguage = "en") -> list["ToneClip"]:
        """Return the utterances with texts in a language."""
        return [ToneClip(self, index, language) for index in range(self.num_clips)]


@dataclass(frozen=True)
class ToneClip:
    """A sequence of pressed keys with random durations, pauses and amplitude.

    Args:
        world: the data set.
        index: of the clip in it.
        language: of the text: English names the keys in their order, German the second of each two first, as it does
            with the digits of a number: zwei und eins for one two.
    """

    world: ToneWorld
    index: int
    language: ToneLanguage = "en"

    @cached_property
    def _plan(self) -> tuple[list[int], np.ndarray, np.ndarray, float]:
        """Keys, milliseconds of sound and of silence around each, and amplitude."""
        random = np.random.default_rng((self.world.seed, self.index))
        count = int(random.integers(self.world.min_words, self.world.max_words + 1))
        keys = random.integers(len(_KEYS), size=count).tolist()
        sounds, pauses = random.integers(70, 200, size=count), random.integers(40, 250, size=count + 1)
        # Log-uniform, as loudness is perceived.
        return keys, sounds, pauses, float(np.exp(random.uniform(np.log(0.05), np.log(0.5))))

    @property
    def id(self) -> str:
        """Name of the clip."""
        return f"tones-{self.world.seed}-{self.index:05d}"

    @property
    def text(self) -> str:
        """Names of the keys."""
        keys = self._plan[0]
        if self.language == "en":
            return " ".join(_KEYS[key] for key in keys)
        names = [_GERMAN[key] for key in keys]
        pairs = [names[start : start + 2][::-1] for start in range(0, len(names), 2)]
        return " ".join(" und ".join(pair) for pair in pairs)

    @property
    def seconds(self) -> float:
        """Duration."""
        _, sounds, pauses, _ = self._plan
        return float(sounds.sum() + pauses.sum()) / 1000

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform; ``random`` is unused."""
        keys, sounds, pauses, amplitude = self._plan
        pieces = [np.zeros(pauses[0] * sample_rate // 1000)]
        for key, sound, pause in zip(keys, sounds, pauses[1:], strict=True):
            time = np.arange(sound * sample_rate // 1000) / sample_rate
            pair = (_ROWS[key // len(_COLUMNS)], _COLUMNS[key % len(_COLUMNS)])
            pieces.append(amplitude / 2 * np.sin(2 * np.pi * np.outer(time, pair)).sum(1))
            pieces.append(np.zeros(pause * sample_rate // 1000))
        clean = np.concatenate(pieces)
        # Seeded by the clip, so that every read gives the same noise.
        noise = np.random.default_rng((self.world.seed, self.index, 1)).standard_normal(len(clean))
        return torch.from_numpy(clean + self.world.noise * noise).float()
