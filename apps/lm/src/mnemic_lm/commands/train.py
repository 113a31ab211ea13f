"""``mnemic-lm fit``, ``validate`` and ``test``: LightningCLI with our data, task and checkpoints."""

from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit.training import AppCLI, run_training
from mnemic_lm.datamodule import TextData
from mnemic_lm.task import LanguageTask

CONFIGS = Path(__file__).parent.parent / "configs"
TRAINER_DEFAULTS = {
    "default_root_dir": "runs/lm",
    "gradient_clip_val": 1.0,
    "devices": 1,  # a checkpoint holds the streams of one process
    "num_sanity_val_steps": 0,
    "reload_dataloaders_every_n_epochs": 1,  # the order of documents changes with the epoch
    "inference_mode": False,  # bf16 on a CPU is a hundred times slower with it
}


class LanguageCLI(AppCLI):
    """Links the tokenizer of the data to the model."""

    monitor = "val/bits_per_byte"
    mode = "min"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the tokenizer of the data to the model."""
        super().add_arguments_to_parser(parser)
        parser.link_arguments("data.tokenizer", "model.tokenizer")


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate or test, by the last word of ``program``; return the finished CLI."""
    return run_training(LanguageCLI, LanguageTask, TextData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
