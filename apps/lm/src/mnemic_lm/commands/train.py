"""``mnemic-lm fit``, ``validate`` and ``test``: LightningCLI with our data, task and checkpoints."""

from pathlib import Path

from mnemic_kit import training
from mnemic_kit.training import AppCLI, run_training
from mnemic_lm.datamodule import TextData
from mnemic_lm.task import LanguageTask

CONFIGS = Path(__file__).parent.parent / "configs"
TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {
    "default_root_dir": "runs/lm",
    "gradient_clip_val": 1.0,
    "devices": 1,  # a checkpoint holds the streams of one process
}


class LanguageCLI(AppCLI):
    """Links the tokenizer of the data to the model."""

    monitor = "val/bits_per_byte"
    mode = "min"
    links = (("data.tokenizer", "model.tokenizer"),)


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate or test, by the last word of ``program``; return the finished CLI."""
    return run_training(LanguageCLI, LanguageTask, TextData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
