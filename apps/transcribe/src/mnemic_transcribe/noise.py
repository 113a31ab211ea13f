"""Additive noise for evaluation: white, or babble of other utterances of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_speech.augment import add_noise
from mnemic_speech.data.batching import Clip
from mnemic_transcribe.options import NoiseKind

_VOICES = 4  # of babble: enough to mask single words


@dataclass(frozen=True)
class Noise:
    """Noise added to every utterance.

    Args:
        kind: ``white``, or ``babble`` of four other utterances at a time, equally loud.
        snr_db: signal-to-noise ratio in decibels.
    """

    kind: NoiseKind
    snr_db: float

    def __post_init__(self) -> None:
        check_range(self, -inf, inf, "snr_db")

    @classmethod
    def parse(cls, text: str) -> "Noise":
        """Parse a text such as ``babble:5``.

        Raises:
            UserError: if it is not kind and ratio.

        Example:
            >>> Noise.parse("white:0")
            Noise(kind='white', snr_db=0.0)
        """
        for kind in get_args(NoiseKind):
            name, _, ratio = text.partition(":")
            if name == kind:
                try:
                    return cls(kind, float(ratio))
                except ValueError:
                    break
        raise UserError(f"a noise is white or babble with a ratio in decibels, such as babble:5, got {text!r}")

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads."""
        return f"{self.kind}:{self.snr_db:g}"


def read_clip(
    clips: Sequence[Clip], index: int, sample_rate: int, *, noise: Noise | None = None, seed: int = 0
) -> Float[Tensor, " samples"]:
    """Return the waveform of an utterance with noise, determined by seed and index; babble uses the other utterances.

    Raises:
        FileNotFoundError: if a file is missing.
        UserError: if a file is damaged, or there are no other utterances for babble.
    """
    random = np.random.default_rng((seed, index))
    waveform = clips[index].read(sample_rate, random)
    if noise is None or not len(waveform):
        return waveform
    if noise.kind == "babble":
        return add_noise(waveform, _babble(clips, index, sample_rate, len(waveform), random), noise.snr_db)
    return add_noise(waveform, torch.from_numpy(random.standard_normal(len(waveform))).float(), noise.snr_db)


def _babble(clips: Sequence[Clip], index: int, sample_rate: int, length: int, random: np.random.Generator) -> Tensor:
    others = [other for other in range(len(clips)) if other != index]
    if not others:
        raise UserError("babble is made of other utterances, and there is only one; use white noise")
    voices = []
    # With replacement only if the data set is too small for distinct voices.
    for other in random.choice(others, size=_VOICES, replace=len(others) < _VOICES).tolist():
        voice = clips[other].read(sample_rate, random)
        start = int(random.integers(len(voice)))
        # Random start and equal energy, so that no voice dominates.
        looped = voice.roll(-start).repeat(-(-length // len(voice)))[:length]
        voices.append(looped / looped.square().mean().sqrt().clamp(min=1e-6))
    return torch.stack(voices).sum(0)
