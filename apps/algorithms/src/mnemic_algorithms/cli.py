"""Command line ``mnemic-algorithms``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-algorithms",
    description="Train and score memories on algorithmic tasks, and measure what they cost.",
    commands={
        "fit": "train a machine on a task, such as: fit --config proof --data.task reverse_string",
        "validate": "score a checkpoint on the validation strings of a config",
        "evaluate": "print and plot length against accuracy of a checkpoint",
        "compare": "train several machines with several seeds on the same budget and compare",
        "bench": "measure what every memory costs per step, and how far back it recalls",
    },
    package="mnemic_algorithms.commands",
)
main = PROGRAM.main
