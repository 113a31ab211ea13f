"""Command line ``mnemic-translate``."""

from mnemic_kit.cli import Program

PROGRAM = Program(
    name="mnemic-translate",
    description="Translate speech while it is spoken; train and evaluate simultaneous translators with memory.",
    commands={
        "run": "translate files or a microphone while they are heard; write text, JSON and subtitles",
        "evaluate": "score a checkpoint on recordings with translations: BLEU, chrF, latency, speed",
        "curve": "measure BLEU against latency for several k, and plot it",
        "compare": "train each memory with several seeds on the same budget and compare",
        "demo": "translate one sentence, and plot when each word was written",
        "fit": "train from a config, such as: fit --config augmented_memory_generated",
        "validate": "score a checkpoint on the validation data of a config",
        "test": "score a checkpoint on the test data of a config",
        "predict": "write the translations of the test data of a config",
        "prepare": "voice the sentences of a parallel text, and keep features for training",
    },
    package="mnemic_translate.commands",
)
main = PROGRAM.main
