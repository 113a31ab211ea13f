"""Options that several commands share; importing them is quick, as their help pages need it."""

from pathlib import Path
from typing import Literal, TypeAlias

CONFIGS = Path(__file__).parent / "configs"
PAGE = "page.html"
# Those of memmc_mae.data, whose import is slow.
LesionKind: TypeAlias = Literal["bright", "dark", "blur", "noise", "foreign"]
