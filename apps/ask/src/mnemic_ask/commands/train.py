"""``mnemic-ask fit``, ``validate``, ``test`` and ``predict``: LightningCLI with the data and task of a system."""

from mnemic_ask.options import CONFIGS
from mnemic_ask.systems import find_system
from mnemic_kit.training import AppCLI, run_training


def main(program: str, arguments: list[str]) -> AppCLI:
    """Train, validate, test or predict, by the last word of ``program``; return the finished CLI."""
    system = find_system(arguments, CONFIGS)
    defaults = system.trainer_defaults
    return run_training(system.cli, system.task, system.data, program, arguments, CONFIGS, defaults)
