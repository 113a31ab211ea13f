"""``mnemic-actions fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data, task and checkpoints."""

from mnemic_actions.datamodule import ActionData
from mnemic_actions.options import CONFIGS
from mnemic_actions.task import ActionTask
from mnemic_kit import training
from mnemic_kit.training import AppCLI, run_training

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/matr"}


class ActionCLI(AppCLI):
    """Adds what data and model share: classes and inputs."""

    monitor = "val/map_average"
    mode = "max"
    links = (
        ("data.classes", "model.settings.classes"),
        ("data.classes", "model.config.num_classes", len),
        *((f"data.inputs.{name}", f"model.settings.inputs.{name}") for name in ("kind", "channels", "differences")),
    )


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the command line object."""
    return run_training(ActionCLI, ActionTask, ActionData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
