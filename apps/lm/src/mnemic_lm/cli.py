"""Command line ``mnemic-lm``."""

from collections.abc import Sequence

from mnemic_kit.cli import Program

COMMANDS = {
    "fit": "train from a config, such as: fit --config shakespeare_bytes",
    "validate": "score a checkpoint on the validation text of a config",
    "test": "score a checkpoint on the test text of a config",
    "evaluate": "bits per byte of a checkpoint against length of context and size of memory",
    "generate": "continue a text, and save what the memory holds to go on another day",
    "compare": "train each memory with several seeds on the same budget at equal size and compare",
}
PROGRAM = Program("mnemic-lm", "Train, evaluate and run language models with memory.", COMMANDS, "mnemic_lm.commands")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        argv: command and its arguments; None: those of the process.
    """
    PROGRAM.main(argv)


if __name__ == "__main__":
    main()
