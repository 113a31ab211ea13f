"""Options that several commands share; importing them is quick, as their help pages need it."""

from typing import Literal

Format = Literal["txt", "json", "srt", "vtt"]
Segmentation = Literal["auto", "never", "always"]
NoiseKind = Literal["white", "babble"]
