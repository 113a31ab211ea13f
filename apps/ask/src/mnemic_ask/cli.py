"""Command line ``mnemic-ask``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-ask",
    description="Fill a memory with pictures and texts, search it, train on it and ask it.",
    commands={},
    package="mnemic_ask.commands",
)
main = PROGRAM.main
