"""``mnemic-transcribe fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data and task."""

from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit import training
from mnemic_kit.averaging import AveragedCheckpoint
from mnemic_kit.training import AppCLI, run_training
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.task import TranscriptionTask

CONFIGS = Path(__file__).parent.parent / "configs"
TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/transcribe", "gradient_clip_val": 5.0}


class TranscribeCLI(AppCLI):
    """Adds the averaged checkpoint, and links settings shared by data and model."""

    monitor = "val/wer"
    mode = "min"
    links = (
        ("data.text_style", "model.settings.text_style"),
        ("model.features.sample_rate", "data.sample_rate"),
        ("model.features.num_mels", "model.config.encoder.num_mels"),
    )
    checkpoints = (*AppCLI.checkpoints, ("averaged_checkpoint", AveragedCheckpoint))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the tokens of the data to the model."""
        super().add_arguments_to_parser(parser)
        # The published recipe averages the best by val/acc, which needs a decoder.
        parser.set_defaults({"averaged_checkpoint.monitor": "val/wer", "averaged_checkpoint.mode": "min"})
        # On instantiation, since the vocabulary is only known from the data.
        parser.link_arguments("data.tokenizer_state", "model.tokenizer", apply_on="instantiate")
        parser.link_arguments("data.vocab_size", "model.config.vocab_size", apply_on="instantiate")


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the finished CLI."""
    return run_training(TranscribeCLI, TranscriptionTask, SpeechData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
