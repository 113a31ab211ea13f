"""Which system a config trains."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import LightningDataModule, LightningModule

from mnemic_core.errors import UserError
from mnemic_kit.configs import find_config, read_section
from mnemic_kit.training import AppCLI

# By name, since each takes a second to import.
_SYSTEMS = {"murag": ("Murag", "murag"), "emat": ("Emat", "emat")}


class System(NamedTuple):
    """What trains a system.

    Attributes:
        cli: its command line.
        task: what is trained.
        data: what it is trained on.
        trainer_defaults: settings of the trainer.
    """

    cli: type[AppCLI]
    task: type[LightningModule]
    data: type[LightningDataModule]
    trainer_defaults: dict[str, Any]


def find_system(arguments: Sequence[str], configs: Path) -> System:
    """Return the system that ``--system`` or the config names; MuRAG by default.

    Args:
        arguments: of the command line.
        configs: folder of the packaged configs.

    Raises:
        FileNotFoundError: there is no such config.
        UserError: there is no such system.

    Example:
        >>> find_system(["--system=emat"], Path("configs")).task.__name__
        'EmatTask'
    """
    name = _option(arguments, "--system")
    config = _option(arguments, "--config", "-c")
    if name is None and config is not None:
        name = read_section(find_config(config, configs)).get("system")
    if (name := name or "murag") not in _SYSTEMS:
        raise UserError(f"system must be one of {', '.join(_SYSTEMS)}, got {name!r}")
    prefix, folder = _SYSTEMS[name]
    training, task, data = (
        import_module(f"mnemic_ask.{folder}.{module}") for module in ("training", "task", "datamodule")
    )
    return System(
        getattr(training, f"{prefix}CLI"),
        getattr(task, f"{prefix}Task"),
        getattr(data, f"{prefix}Data"),
        training.TRAINER_DEFAULTS,
    )


def _option(arguments: Sequence[str], *names: str) -> str | None:
    """Return the last value of an option, as ``--name value`` or ``--name=value``."""
    found = None
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else next(iter(arguments[place + 1 :]), None)
    return found
