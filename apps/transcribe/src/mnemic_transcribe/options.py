"""Types of options shared by commands; a light import for help pages."""

from typing import Literal

Format = Literal["txt", "json", "srt", "vtt"]
Segmentation = Literal["auto", "never", "always"]
NoiseKind = Literal["white", "babble"]
