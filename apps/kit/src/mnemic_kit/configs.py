"""Configs by their names, and what they hold."""

from pathlib import Path
from typing import Any

import yaml


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
    """Return a section of a config, such as ``model`` and in it ``config``; empty where the config has none."""
    section: dict[Any, Any] = yaml.safe_load(config.read_text("utf-8")) or {}
    for name in names:
        section = section.get(name) or {}
    return section
