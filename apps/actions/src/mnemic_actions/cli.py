"""Command line ``mnemic-actions``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-actions",
    description="Find actions in running videos and feature streams, as soon as they end.",
    commands={
        "run": "find the actions of a feature stream, a video or a camera; write json, JSON lines, a picture and mp4",
        "evaluate": "score a checkpoint on annotated streams: average precision, delay, speed",
        "demo": "generate a stream, find its actions and draw them with the annotated ones",
        "fit": "train from a config, such as: fit --config matr_utkinect",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write result files for the test data of a config",
        "compare": "train each memory with several seeds on the same budget and compare",
        "generate": "write generated streams with annotations",
        "extract": "turn videos into features with an image or video network",
        "import-data": "turn the official feature pickles of THUMOS14 into one file for each video",
        "import-weights": "turn an official MATR checkpoint into one of ours",
    },
    package="mnemic_actions.commands",
)
main = PROGRAM.main
