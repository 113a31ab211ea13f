"""Configs by their names, and what they hold."""

from pathlib import Path
from typing import Any

import yaml

from mnemic_core.errors import UserError


def find_config(name: str, configs: Path) -> Path:
    """Return the path of a config: a file, or the name of one in the folder of the packaged configs.

    Raises:
        FileNotFoundError: if there is neither; the message names the packaged ones.
    """
    packaged = configs / f"{Path(name).stem}.yaml"
    if Path(name).is_file():
        return Path(name)
    if packaged.is_file() and Path(name).parent == Path():
        return packaged
    known = ", ".join(sorted(path.stem for path in configs.glob("*.yaml")))
    raise FileNotFoundError(f"no config {name}: give a file or one of {known}")


def read_section(config: Path, *names: str) -> dict[Any, Any]:
    """Return a section of a config, such as ``model`` and in it ``config``; empty where the config has none.

    Raises:
        UserError: if the config is not YAML, or has something other than settings there.
    """
    try:
        content = yaml.safe_load(config.read_text("utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{config} is not a config in YAML ({error})") from error
    section = _as_settings(content, config, "its top level")
    for depth, name in enumerate(names, 1):
        section = _as_settings(section.get(name), config, ".".join(names[:depth]))
    return section


def _as_settings(content: Any, config: Path, place: str) -> dict[Any, Any]:
    if not isinstance(content, dict | None):
        raise UserError(f"{config} holds no settings at {place}: write them as name: value")
    settings: dict[Any, Any] = content or {}
    return settings
