"""Trained machines read from Lightning checkpoints."""

from pathlib import Path
from typing import Any

from mnemic_algorithms.machines import AlgorithmModel, MachineConfig
from mnemic_core import MemoryConfig
from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError
from mnemic_core.loading import read_checkpoint
from mnemic_core.tasks import create_task

KIND, FORMAT_VERSION = "algorithms", 1


def load_model(path: str | Path) -> tuple[AlgorithmModel, dict[str, Any]]:
    """Return a trained machine, ready to be evaluated, and what made it.

    Args:
        path: a checkpoint that ``fit`` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, of another program or of another version.
    """
    checkpoint = read_checkpoint(path)
    facts = checkpoint.get(KEY, {})
    if (facts.get("kind"), facts.get("format_version")) != (KIND, FORMAT_VERSION):
        raise UserError(f"{path} is no checkpoint of mnemic-algorithms in format {FORMAT_VERSION}; make one with fit")
    config = MachineConfig(**{**facts["config"], "memory": MemoryConfig(**facts["config"]["memory"])})
    model = AlgorithmModel(config, create_task(facts["task"]))
    weights = {name.removeprefix("model."): tensor for name, tensor in checkpoint["state_dict"].items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the machine it names: {error}") from error
    return model.eval(), facts["provenance"]
