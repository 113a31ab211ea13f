"""Command line ``mnemic-track``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-track",
    description="Train, evaluate and run multi-object trackers with memory.",
    commands={
        "run": "track a video, an image folder or a camera; write mp4, MOT text and JSON lines",
        "evaluate": "score a checkpoint, or the plain overlap tracker, on sequences with ground truth",
        "demo": "generate a sequence, track it with the shipped checkpoint and show what its memory did",
        "fit": "train from a config, such as: fit --config memotr_generated",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write result files for the test data of a config",
        "compare": "train each memory with several seeds on the same budget and compare",
        "generate": "write generated sequences with ground truth as MOT folders",
        "import-weights": "turn an official MeMOTR checkpoint into one of ours",
    },
    package="mnemic_track.commands",
)
main = PROGRAM.main
