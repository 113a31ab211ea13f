"""The option of training that replaces the memory of a config."""

import json
from collections.abc import Mapping
from typing import Any

from mnemic_core import find_mechanism


def memory_argument(option: str, memory: str, configured: Mapping[str, Any]) -> str:
    """Return the argument of fit that chooses a memory.

    Args:
        option: the option that takes a memory, such as ``--model.config.memory``.
        memory: name of the memory.
        configured: ``name`` and ``options`` of the config; the options stay where they are of the same mechanism.

    Raises:
        UserError: if there is no such memory.

    Example:
        >>> memory_argument("--model.memory", "window", {"name": "exponential", "options": {"decay": 0.1}})
        '--model.memory={"name": "window", "options": {}}'
    """
    is_same = find_mechanism(memory) is find_mechanism(configured["name"])
    options = configured.get("options", {}) if is_same else {}
    return f"{option}={json.dumps({'name': memory, 'options': options})}"
