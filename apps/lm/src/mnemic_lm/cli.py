"""Command line ``mnemic-lm``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-lm",
    description="Train, evaluate and run language models with memory.",
    commands={
        "fit": "train from a config, such as: fit --config shakespeare_bytes",
        "validate": "score a checkpoint on the validation text of a config",
        "test": "score a checkpoint on the test text of a config",
        "evaluate": "bits per byte of a checkpoint against length of context and size of memory",
        "generate": "continue a text, and save what the memory holds to go on another day",
        "compare": "train each memory with several seeds on the same budget at equal size and compare",
    },
    package="mnemic_lm.commands",
)
main = PROGRAM.main
