"""Options that several commands share; importing them is quick, as their help pages need it."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
