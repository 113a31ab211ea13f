"""``make train-demo-translate``: train the shipped checkpoint on voiced captions.

A recognizer first (``augmented_memory_multi30k_asr``), then the translator that begins with its encoder
(``augmented_memory_multi30k``). Run it again after an interruption to resume.
"""

import sys
from pathlib import Path

from mnemic_kit.parse import call
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_kit.shipping import fit_and_ship
from mnemic_speech.simultaneous import Translator
from mnemic_translate.checkpoints import SHIPPED
from mnemic_translate.commands import train
from mnemic_translate.commands.prepare import prepare


def train_demo(
    out: Path = Path("runs/train_demo_translate"),
    text: Path = Path("../shared/data/multi30k"),
    voiced: Path = Path("data/multi30k_voiced"),
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> None:
    """Voice the captions where that was not done, train, and write the shipped checkpoint.

    Args:
        out: folder of the runs.
        text: folder of the captions.
        voiced: folder of the voiced ones, with train.jsonl and val.jsonl.
        checkpoint: file to write.
        options: further options of fit, for both trainings.
    """
    if not all((voiced / f"{split}.jsonl").is_file() for split in ("train", "val")):
        prepare(text, voiced)
    data = [f"--data.{split}=[{{name: recordings, root: {voiced / split}.jsonl}}]" for split in ("train", "val")]
    pieces = [f"--data.vocabulary.file={out / f'{code}.model'}" for code in ("en", "de")]
    recognizer = out / "recognizer"
    fit_or_resume(train.main, ["--config=augmented_memory_multi30k_asr", *data, pieces[0], *options], recognizer)
    begin = f"--model.init_checkpoint={checkpoint_path(recognizer)}"
    arguments = ["--config=augmented_memory_multi30k", *data, pieces[1], begin, *options]
    fit_and_ship(train.main, arguments, out / "translator", Translator, checkpoint, "make train-demo-translate")


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_translate.train_demo", sys.argv[1:])
