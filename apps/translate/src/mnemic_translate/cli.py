"""Command line ``mnemic-translate``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-translate",
    description="Translate speech while it is spoken; train and evaluate simultaneous translators with memory.",
    commands={
        "prepare": "voice the sentences of a parallel text, and keep features for training",
    },
    package="mnemic_translate.commands",
)
main = PROGRAM.main
