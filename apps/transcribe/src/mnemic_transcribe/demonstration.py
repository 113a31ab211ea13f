"""One recording, and everything that can be seen of it."""

from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.metrics import word_errors
from mnemic_transcribe.evaluation import open_clips
from mnemic_transcribe.noise import read_clip


def find_recording(
    transcriber: Transcriber, data: Path, split: str | None, number: int
) -> tuple[str, str, Float[Tensor, " samples"]]:
    """Return name, text and sound of a recording of the data.

    Raises:
        FileNotFoundError: if there are no data.
        UserError: if there is no such recording.
    """
    if not data.exists():
        raise FileNotFoundError(f"no data at {data}: give --data, the folder of the digit strings, or --file")
    clips, _ = open_clips(data, split, transcriber.settings.text_style)
    if not 0 <= number < len(clips):
        raise UserError(f"--number must be from 0 to {len(clips) - 1}, got {number}")
    clip = clips[number]
    # A part of a name may be a folder.
    return clip.id.replace("/", "-"), clip.text, torch.as_tensor(read_clip(clips, number, transcriber.sample_rate))


def show_recording(heard: str, said: str | None, paths: list[Path]) -> None:
    """Print what was heard, what was said where that is known, and where the files are."""
    console = Console()
    console.print(f"heard: {heard}", highlight=False, markup=False)
    if said is not None:
        counts = word_errors(said, heard)
        console.print(f"said:  {said}", highlight=False, markup=False)
        console.print(f"word error rate {100 * counts.rate:.1f} % of {counts.length} words", highlight=False)
    for path in paths:
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
