"""``mnemic-transcribe fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data and task."""

from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit.training import AppCLI, run_training
from mnemic_transcribe.averaging import AveragedCheckpoint
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.task import TranscriptionTask

CONFIGS = Path(__file__).parent.parent / "configs"
TRAINER_DEFAULTS = {
    "default_root_dir": "runs/transcribe",
    "gradient_clip_val": 5.0,
    "num_sanity_val_steps": 0,
    "reload_dataloaders_every_n_epochs": 1,  # batches change with the epoch
    "inference_mode": False,  # bf16 on a CPU is a hundred times slower with it
}


class TranscribeCLI(AppCLI):
    """Adds the averaged checkpoint, and links settings shared by data and model."""

    monitor = "val/wer"
    mode = "min"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link tokens from the data to the model, and features from the model to the data."""
        super().add_arguments_to_parser(parser)
        parser.add_lightning_class_args(AveragedCheckpoint, "averaged_checkpoint")
        parser.link_arguments(
            "trainer.default_root_dir", "averaged_checkpoint.folder", lambda root: f"{root}/checkpoints"
        )
        # On instantiation, since the vocabulary is only known from the data.
        parser.link_arguments("data.tokenizer_state", "model.tokenizer", apply_on="instantiate")
        parser.link_arguments("data.vocab_size", "model.config.vocab_size", apply_on="instantiate")
        parser.link_arguments("data.text_style", "model.settings.text_style")
        parser.link_arguments("model.features.sample_rate", "data.sample_rate")
        parser.link_arguments("model.features.num_mels", "model.config.encoder.num_mels")


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the finished CLI."""
    return run_training(TranscribeCLI, TranscriptionTask, SpeechData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
