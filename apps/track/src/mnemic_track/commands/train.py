"""``mnemic-track fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data, task and checkpoints."""

from mnemic_kit import training
from mnemic_kit.training import AppCLI, run_training
from mnemic_track.datamodule import TrackingData
from mnemic_track.options import CONFIGS
from mnemic_track.task import TrackingTask

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/memotr", "gradient_clip_val": 0.1}


class TrackCLI(AppCLI):
    """Adds the classes, which data and model share."""

    monitor = "val/hota"
    mode = "max"
    links = (
        ("data.classes", "model.settings.classes"),
        ("data.classes", "model.config.num_classes", len),
    )


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the command line object."""
    return run_training(TrackCLI, TrackingTask, TrackingData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
