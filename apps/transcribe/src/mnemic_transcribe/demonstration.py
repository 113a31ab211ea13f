"""Selection of a recording for the demo, and its result on the terminal."""

from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.result_files import show_files
from mnemic_speech.audio import read_audio
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.metrics import word_errors
from mnemic_transcribe.evaluation import open_clips
from mnemic_transcribe.noise import read_clip

SHIPPED = Path(__file__).parent / "recordings" / "digits.flac"
"""Digits spoken by a synthetic voice, with their text beside them."""


def read_recording(transcriber: Transcriber, file: Path | None) -> tuple[str, str | None, Float[Tensor, " samples"]]:
    """Return name, text (None: unknown) and waveform of a file; None: of the recording that comes with the program."""
    path = SHIPPED if file is None else file
    text = SHIPPED.with_suffix(".txt").read_text("utf-8").strip() if file is None else None
    return path.stem, text, read_audio(path, transcriber.sample_rate)


def find_recording(
    transcriber: Transcriber, data: Path, split: str | None, number: int
) -> tuple[str, str | None, Float[Tensor, " samples"]]:
    """Return name, text and waveform of a recording of the data.

    Raises:
        FileNotFoundError: if there is no data.
        UserError: if the number is out of range.
    """
    if not data.exists():
        raise FileNotFoundError(f"no data at {data}: give the folder of digit strings or other data")
    clips, _ = open_clips(data, split, transcriber.settings.text_style)
    if not 0 <= number < len(clips):
        raise UserError(f"--number must be from 0 to {len(clips) - 1}, got {number}")
    clip = clips[number]
    # Names may contain folders.
    return clip.id.replace("/", "-"), clip.text, torch.as_tensor(read_clip(clips, number, transcriber.sample_rate))


def show_recording(hypothesis: str, reference: str | None, paths: list[Path]) -> None:
    """Print recognized and true text, the error rate where that is known, and the files written."""
    console = Console()
    console.print(f"recognized: {hypothesis}", highlight=False, markup=False)
    if reference is not None:
        counts = word_errors(reference, hypothesis)
        console.print(f"reference:  {reference}", highlight=False, markup=False)
        console.print(f"word error rate {100 * counts.rate:.1f} % of {counts.length} words", highlight=False)
    show_files(paths, console)
