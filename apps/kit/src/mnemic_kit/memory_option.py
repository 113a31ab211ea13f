"""The option of training that replaces the memory of a config."""

import json
from pathlib import Path

from mnemic_core import find_mechanism
from mnemic_kit.configs import read_section


def memory_argument(config: Path, memory: str, default: str) -> str:
    """Return the argument of fit that chooses a memory; options in the config apply to its own mechanism alone.

    Args:
        config: training config.
        memory: name of the memory.
        default: name of the memory of a config that names none.

    Raises:
        UserError: if there is no such memory.
    """
    configured = {"name": default, **read_section(config, "model", "config", "memory")}
    is_same = find_mechanism(memory) is find_mechanism(configured["name"])
    options = configured.get("options", {}) if is_same else {}
    return f"--model.config.memory={json.dumps({'name': memory, 'options': options})}"
