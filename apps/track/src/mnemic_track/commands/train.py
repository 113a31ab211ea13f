"""``mnemic-track fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data, task and checkpoints."""

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit.training import AppCLI, run_training
from mnemic_track.datamodule import TrackingData
from mnemic_track.options import CONFIGS
from mnemic_track.task import TrackingTask

TRAINER_DEFAULTS = {
    "default_root_dir": "runs/memotr",
    "gradient_clip_val": 0.1,
    "num_sanity_val_steps": 0,  # it would track complete sequences before the first step
    "reload_dataloaders_every_n_epochs": 1,  # order and clip length change with the epoch
    "inference_mode": False,  # bf16 on a CPU is a hundred times slower with it
}


class TrackCLI(AppCLI):
    """Adds the classes, which data and model share."""

    monitor = "val/hota"
    mode = "max"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Take the classes from the data."""
        super().add_arguments_to_parser(parser)
        parser.link_arguments("data.classes", "model.settings.classes")
        parser.link_arguments("data.classes", "model.config.num_classes", len)


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the command line object."""
    return run_training(TrackCLI, TrackingTask, TrackingData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
