"""The command line of EMAT's training: LightningCLI with our data and task."""

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit import training
from mnemic_kit.training import AppCLI

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/emat", "gradient_clip_val": 1.0}


class EmatCLI(AppCLI):
    """Links the tokens of the data to the network; exact match on validation chooses the best checkpoint."""

    monitor, mode = "val/em", "max"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the name of the system, and links."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--system", default="emat", help="emat; which system the config is for")
        # On instantiation, since the vocabulary is only known from the data.
        parser.link_arguments("data.tokenizer_state", "model.tokenizer", apply_on="instantiate")
