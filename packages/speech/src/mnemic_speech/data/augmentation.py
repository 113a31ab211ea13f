"""Configuration of the augmentation of training utterances."""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_speech.augment import SpecAugment, add_noise, change_gain, change_speed


@dataclass(frozen=True)
class Masks:
    """Settings of SpecAugment; the defaults are those of the paper's recipe.

    Args:
        time_warp: maximum shift of a random frame, in frames; 0 for none.
        num_frequency_masks: frequency masks per utterance.
        frequency_width: a frequency mask has 0 to ``frequency_width - 1`` mels.
        num_time_masks: time masks per utterance.
        time_share: a time mask has fewer frames than this share of the utterance.
        time_width: a time mask has fewer frames than this; null: any number.
    """

    time_warp: int = 5
    num_frequency_masks: int = 2
    frequency_width: int = 27
    num_time_masks: int = 5
    time_share: float = 0.05
    time_width: int | None = None

    def __post_init__(self) -> None:
        check_range(self, 0, inf, "time_warp", "num_frequency_masks", "frequency_width", "num_time_masks")
        check_range(self, 0, 1, "time_share")
        if self.time_width is not None:
            check_range(self, 0, inf, "time_width")

    def build(self) -> SpecAugment:
        """Return the module."""
        return SpecAugment(**vars(self))


@dataclass(frozen=True)
class Augmentation:
    """Random speed, gain and noise; the defaults change nothing.

    Args:
        speeds: speed factors, one drawn per utterance, such as 0.9, 1.0, 1.1 (Ko et al., Interspeech 2015).
        gain_db: range of the gain, in decibels.
        noise_prob: probability of adding white noise.
        noise_db: range of the signal-to-noise ratio, in decibels.
    """

    speeds: tuple[float, ...] = (1.0,)
    gain_db: tuple[float, float] = (0.0, 0.0)
    noise_prob: float = 0.0
    noise_db: tuple[float, float] = (10.0, 40.0)

    def __post_init__(self) -> None:
        if not self.speeds or min(self.speeds) <= 0:
            raise UserError(f"speeds must be factors above 0, such as [0.9, 1.0, 1.1], got {list(self.speeds)}")
        check_range(self, 0, 1, "noise_prob")
        check_range(self, -inf, inf, "speeds", "gain_db", "noise_db")
        for name in ("gain_db", "noise_db"):
            low, high = getattr(self, name)
            if low > high:
                raise UserError(f"{name} must be the lower and the higher value, got [{low}, {high}]")

    def __call__(self, waveform: Float[Tensor, " samples"], random: np.random.Generator) -> Float[Tensor, " changed"]:
        """Return a changed copy of samples in [-1, 1], which may exceed this range."""
        # Always drawn in this order, so that the setting of one change does not affect the others.
        speed = self.speeds[random.integers(len(self.speeds))]
        gain, ratio = random.uniform(*self.gain_db), random.uniform(*self.noise_db)
        is_noisy, noise_seed = random.random() < self.noise_prob, int(random.integers(2**63))
        waveform = waveform if speed == 1.0 else change_speed(waveform, speed)
        if is_noisy:  # before the gain, so that noise is scaled too and the ratio kept
            noise = torch.randn(len(waveform), generator=torch.Generator().manual_seed(noise_seed))
            waveform = add_noise(waveform, noise, ratio)
        return change_gain(waveform, gain)
