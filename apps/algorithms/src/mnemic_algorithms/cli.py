"""Command line ``mnemic-algorithms``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-algorithms",
    description="Train and evaluate memories on algorithmic tasks, and measure their cost.",
    commands={
        "fit": "train a machine on a task, such as: fit --config proof --data.task reverse_string",
        "validate": "score a checkpoint on the validation strings of a config",
        "evaluate": "print and plot accuracy against string length of a checkpoint",
        "compare": "train several machines with equal budget and compare them",
        "bench": "measure cost per step and recall distance of every memory",
    },
    package="mnemic_algorithms.commands",
)
main = PROGRAM.main
