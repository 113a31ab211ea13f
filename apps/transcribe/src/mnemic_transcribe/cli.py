"""Command line ``mnemic-transcribe``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-transcribe",
    description="Train, evaluate and run speech recognizers with memory.",
    commands={
        "run": "transcribe files or a microphone; write text, JSON with word times, and subtitles",
        "evaluate": "score a checkpoint on recordings with text: word and character errors, speed",
        "compare": "train each memory with several seeds on the same budget and compare, with intervals",
        "demo": "transcribe one recording with the shipped checkpoint, and plot words and memory use",
        "fit": "train from a config, such as: fit --config conformer_ntm_generated",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write the transcripts of the test data of a config",
        "average": "average the weights of several checkpoints of one run",
        "import-data": "convert a data set of another layout to a manifest",
    },
    package="mnemic_transcribe.commands",
)
main = PROGRAM.main
