"""Options that several commands share; importing them is quick, as their help pages need it."""

from pathlib import Path
from typing import Annotated, Literal

from mnemic_core.listing import memory_names
from mnemic_kit.parse import OneOf

CONFIGS = Path(__file__).parent / "configs"

MemoryName = Annotated[str, OneOf(lambda: memory_names(lambda entry: entry.is_read_write))]

Switch = Literal["on", "off"]
