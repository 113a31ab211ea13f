"""Configs by their names."""

from pathlib import Path


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
