"""``mnemic-transcribe demo``: one recording, everything that can be seen of it."""

from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_kit.parse import call
from mnemic_speech.audio import read_audio
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import Decoding
from mnemic_speech.metrics import word_errors
from mnemic_transcribe.evaluation import open_clips
from mnemic_transcribe.memory import memory_over_time
from mnemic_transcribe.noise import read_clip
from mnemic_transcribe.plots import plot_recording
from mnemic_transcribe.results import write_transcript
from mnemic_transcribe.transcribers import open_transcriber


def demo(
    file: Path | None = None,
    data: Path = Path("../shared/data/speech_digits"),
    split: str | None = "dev_long",
    number: int = 0,
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    decoding: Decoding | None = None,
    device: Device = "auto",
) -> None:
    """Transcribe a string of spoken digits, or a file, and draw its words and what the memory did.

    Args:
        file: any audio or video file, instead of a recording of the data.
        data: folder of digit strings, or any data that evaluate takes.
        split: a part of the data.
        number: which recording of it, counted from 0.
        out: folder for text, JSON, subtitles and the picture.
        checkpoint: weights to run; the shipped ones by default.
        decoding: ctc, attention, joint or rescoring; by default as the checkpoint says.
        device: where to run; auto takes a GPU where there is one.
    """
    transcriber = open_transcriber(checkpoint, decoding=decoding, device=device)
    if file is not None:
        name, said, waveform = file.stem, None, read_audio(file, transcriber.sample_rate)
    else:
        name, said, waveform = _recording(transcriber, data, split, number)
    out.mkdir(parents=True, exist_ok=True)
    transcript = transcriber.transcribe(waveform, transcriber.sample_rate)
    paths = write_transcript(transcript, out, name, ("txt", "json", "srt"))
    picture = out / f"{name}.png"
    history = memory_over_time(transcriber, waveform)
    plot_recording(waveform, transcriber.sample_rate, transcript, history, picture)
    _show(transcript.text, said, [*paths, picture])


def _recording(transcriber: Transcriber, data: Path, split: str | None, number: int) -> tuple[str, str, Tensor]:
    """Return name, text and sound of a recording of the data."""
    if not data.exists():
        raise FileNotFoundError(f"no data at {data}: give --data, the folder of the digit strings, or --file")
    clips, _ = open_clips(data, split, transcriber.settings.text_style)
    if not 0 <= number < len(clips):
        raise UserError(f"--number must be from 0 to {len(clips) - 1}, got {number}")
    clip = clips[number]
    # A part of a name may be a folder.
    return clip.id.replace("/", "-"), clip.text, torch.as_tensor(read_clip(clips, number, transcriber.sample_rate))


def _show(heard: str, said: str | None, paths: list[Path]) -> None:
    console = Console()
    console.print(f"heard: {heard}", highlight=False, markup=False)
    if said is not None:
        counts = word_errors(said, heard)
        console.print(f"said:  {said}", highlight=False, markup=False)
        console.print(f"word error rate {100 * counts.rate:.1f} % of {counts.length} words", highlight=False)
    for path in paths:
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(demo, program, arguments)
