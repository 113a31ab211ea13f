"""``mnemic-translate fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our data and task."""

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit import training
from mnemic_kit.averaging import AveragedCheckpoint
from mnemic_kit.training import AppCLI, run_training
from mnemic_translate.datamodule import TranslationData
from mnemic_translate.options import CONFIGS
from mnemic_translate.task import TranslationTask

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/translate", "gradient_clip_val": 10.0}


class TranslateCLI(AppCLI):
    """Adds the averaged checkpoint, and links settings shared by data and model."""

    links = (
        ("data.spoken", "model.spoken"),
        ("data.written", "model.written"),
        ("model.features", "data.features"),
        ("model.features.num_mels", "model.config.encoder.num_mels"),
    )
    checkpoints = (*AppCLI.checkpoints, ("averaged_checkpoint", AveragedCheckpoint))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the tokens of the data to the model."""
        super().add_arguments_to_parser(parser)
        # On instantiation, since the vocabulary is only known from the data.
        parser.link_arguments("data.tokenizer_state", "model.tokenizer", apply_on="instantiate")
        parser.link_arguments("data.vocab_size", "model.config.vocab_size", apply_on="instantiate")


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the finished CLI."""
    return run_training(TranslateCLI, TranslationTask, TranslationData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
