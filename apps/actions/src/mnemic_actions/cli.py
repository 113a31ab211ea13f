"""Command line ``mnemic-actions``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-actions",
    description="Find actions in running videos and feature streams, as soon as they end.",
    commands={},
    package="mnemic_actions.commands",
)
main = PROGRAM.main
