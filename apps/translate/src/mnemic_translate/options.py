"""Options that several commands share; importing them is quick, as their help pages need it."""

from pathlib import Path
from typing import Literal, TypeAlias

CONFIGS = Path(__file__).parent / "configs"
# Those of mnemic_speech.simultaneous, whose import is slow.
PolicyName: TypeAlias = Literal["wait_k", "local_agreement", "hold_n"]
Shift: TypeAlias = Literal["none", "left", "right", "center", "all"]
Format: TypeAlias = Literal["txt", "json", "srt", "vtt"]
