"""Command line ``mnemic-lm``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-lm",
    description="Train, evaluate and run language models with memory.",
    commands={
        "fit": "train from a config, such as: fit --config shakespeare_bytes",
        "validate": "score a checkpoint on the validation text of a config",
        "test": "score a checkpoint on the test text of a config",
        "evaluate": "bits per byte of a checkpoint by context length and memory size",
        "generate": "continue a text; the session can be saved and resumed",
        "compare": "train several memories with equal budget and parameters, and compare them",
    },
    package="mnemic_lm.commands",
)
main = PROGRAM.main
