"""``mnemic-algorithms fit`` and ``validate``: LightningCLI with our data and task."""

from pathlib import Path

from mnemic_algorithms.datamodule import AlgorithmData
from mnemic_algorithms.task import AlgorithmTask
from mnemic_kit import training
from mnemic_kit.training import AppCLI, run_training

CONFIGS = Path(__file__).parent.parent / "configs"
TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {
    "default_root_dir": "runs/algorithms",
    "max_epochs": 9,
    "gradient_clip_val": 1.0,
}


class AlgorithmsCLI(AppCLI):
    """Links the task of the data to the model."""

    monitor = "val/accuracy"
    mode = "max"
    links = (("data.task", "model.task"),)


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train or validate, by the last word of ``program``; return the finished CLI."""
    return run_training(AlgorithmsCLI, AlgorithmTask, AlgorithmData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
