"""``mnemic-anomaly fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data, task and checkpoints."""

from mnemic_anomaly.datamodule import AnomalyData
from mnemic_anomaly.options import CONFIGS
from mnemic_anomaly.task import AnomalyTask
from mnemic_kit import training
from mnemic_kit.training import AppCLI, run_training

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/memmc_mae"}


class AnomalyCLI(AppCLI):
    """Adds what data and model share: size and channels of the images."""

    links = (
        ("model.config.image_size", "data.image_size"),
        ("model.config.channels", "data.channels"),
    )


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the command line object."""
    return run_training(AnomalyCLI, AnomalyTask, AnomalyData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
