"""The command line of training."""

from lightning.pytorch.cli import LightningArgumentParser

from mnemic_kit import training
from mnemic_kit.training import AppCLI

TRAINER_DEFAULTS = training.TRAINER_DEFAULTS | {"default_root_dir": "runs/ask", "gradient_clip_val": 1.0}


class MuragCLI(AppCLI):
    """Links settings shared by data and model."""

    monitor = "val/em"
    mode = "max"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the tokens of the data to the model."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--system", type=str, default="murag", help="which system a config is for")
        # On instantiation, since some tokenizers are only known from a file.
        parser.link_arguments("data.tokenizer_state", "model.tokenizer", apply_on="instantiate")
