"""Command line ``mnemic-translate``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-translate",
    description="Translate speech while it is spoken; train and evaluate simultaneous translators with memory.",
    commands={
        "fit": "train from a config, such as: fit --config augmented_memory_generated",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write the translations of the test data of a config",
        "prepare": "voice the sentences of a parallel text, and keep features for training",
    },
    package="mnemic_translate.commands",
)
main = PROGRAM.main
