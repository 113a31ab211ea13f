"""The option of training that replaces the memory of a config."""

import json
from collections.abc import Sequence
from pathlib import Path

from mnemic_core import find_mechanism
from mnemic_kit.configs import read_section


def memory_argument(config: Path, memory: str, default: str, place: Sequence[str] = ("memory",)) -> str:
    """Return the argument of fit that chooses a memory; options in the config apply to its own mechanism alone.

    Args:
        config: training config.
        memory: name of the memory.
        default: name of the memory of a config that names none.
        place: where the memory is in ``model.config``.

    Raises:
        UserError: if there is no such memory.
    """
    configured = {"name": default, **read_section(config, "model", "config", *place)}
    is_same = find_mechanism(memory) is find_mechanism(configured["name"])
    options = configured.get("options", {}) if is_same else {}
    return f"--model.config.{'.'.join(place)}={json.dumps({'name': memory, 'options': options})}"
