"""Command line ``mnemic-algorithms``."""

from collections.abc import Sequence

from mnemic_kit.cli import Program

COMMANDS = {
    "fit": "train a machine on a task, such as: fit --config proof --data.task reverse_string",
    "validate": "score a checkpoint on the validation strings of a config",
    "evaluate": "print and plot length against accuracy of a checkpoint",
    "compare": "train several machines with several seeds on the same budget and compare",
    "bench": "measure what every memory costs per step, and how far back it recalls",
}
PROGRAM = Program(
    "mnemic-algorithms",
    "Train and score memories on algorithmic tasks, and measure what they cost.",
    COMMANDS,
    "mnemic_algorithms.commands",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        argv: command and its arguments; None: those of the process.
    """
    PROGRAM.main(argv)


if __name__ == "__main__":
    main()
