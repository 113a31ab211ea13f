"""``mnemic-ask fit``, ``validate``, ``test`` and ``predict``: LightningCLI with the data and task of a system."""

from mnemic_ask.murag.datamodule import MuragData
from mnemic_ask.murag.task import MuragTask
from mnemic_ask.murag.training import TRAINER_DEFAULTS, MuragCLI
from mnemic_ask.options import CONFIGS
from mnemic_kit.training import AppCLI, run_training


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the finished CLI."""
    return run_training(MuragCLI, MuragTask, MuragData, program, arguments, CONFIGS, TRAINER_DEFAULTS)
