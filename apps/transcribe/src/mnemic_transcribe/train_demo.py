"""``make train-demo-transcribe``: train the shipped checkpoint on strings of spoken digits.

One run of ``conformer_ntm_digits`` with averaged weights. Run it again after an interruption to resume.
"""

import sys
from dataclasses import replace
from pathlib import Path

from mnemic_kit.parse import call
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_speech.conformer_ntm import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_transcribe.calibration import usual_uncertainty
from mnemic_transcribe.checkpoints import SHIPPED
from mnemic_transcribe.commands import train
from mnemic_transcribe.digits import SAMPLE_RATE, read_digit_strings, render
from mnemic_transcribe.task import TranscriptionTask


def train_demo(
    out: Path = Path("runs/train_demo_transcribe"),
    digits: Path = Path("../shared/data/speech_digits"),
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train, write the shipped checkpoint and return its scores on the short and long test strings.

    Args:
        out: folder of the run.
        digits: folder with ``strings.tsv`` and the recordings.
        checkpoint: file to write.
        options: further options of fit.
    """
    sources = {"train": f"{{name: digits, root: {digits}, split: train, drawn: {{num_strings: 8000}}}}"}
    sources |= {"val": f"{{name: digits, root: {digits}, split: dev}}"}
    sources |= {"test": f"{{name: digits, root: {digits}, split: dev_long}}"}
    data = [f"--data.{split}=[{source}]" for split, source in sources.items()]
    arguments = ["--config=conformer_ntm_digits", *data, *options]
    run = fit_or_resume(train.main, arguments, out)
    averaged = checkpoint_path(out, "averaged")
    task: TranscriptionTask = run.model
    figures: dict[str, float] = {}
    for score in (run.trainer.validate, run.trainer.test):
        figures |= score(task, run.datamodule, ckpt_path=str(averaged), verbose=False)[0]
    recognizer = Recognizer.load(averaged)
    strings = read_digit_strings(digits, "dev")
    usual = usual_uncertainty(Transcriber(recognizer), (render(string) for string in strings), SAMPLE_RATE)
    settings = replace(recognizer.settings, max_uncertainty=usual)
    made = {**recognizer.provenance, "command": "make train-demo-transcribe", "metrics": figures}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Half precision halves the file in the repository.
    replace(recognizer, settings=settings, provenance=made).save(checkpoint, half=True)
    return figures


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_transcribe.train_demo", sys.argv[1:])
