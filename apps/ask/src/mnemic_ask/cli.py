"""Command line ``mnemic-ask``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-ask",
    description="Fill a memory with pictures and texts, search it, train on it and ask it.",
    commands={
        "index": "put pictures and texts into a memory; go on where it was left",
        "run": "ask a memory, with a picture or without; the answer with its sources",
        "serve": "answer requests over HTTP",
        "evaluate": "score a network on a data set: answers, citations, rankings, time",
        "compare": "train forms of the reader with several seeds on the same budget and compare",
        "demo": "fill a memory with pictures, ask it three questions and write a page with the sources",
        "fit": "train from a config, such as: fit --config murag_generated",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write the answers to the test data of a config",
    },
    package="mnemic_ask.commands",
)
main = PROGRAM.main
