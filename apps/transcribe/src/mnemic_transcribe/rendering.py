"""Rendering of digit strings to files."""

from pathlib import Path

import soundfile
from rich.progress import track

from mnemic_kit.atomic_files import atomic_write
from mnemic_speech.data.manifest import Utterance
from mnemic_transcribe.digits import SAMPLE_RATE, read_digit_strings, render


def render_strings(folder: Path, split: str | None, out: Path) -> list[Utterance]:
    """Render digit strings to FLAC files in a folder named after the manifest."""
    target = out.with_suffix("")
    target.mkdir(exist_ok=True)
    utterances = []
    for seed, string in enumerate(track(read_digit_strings(folder, split), "rendering")):
        path = target / f"{string.id}.flac"
        sound = render(string, seed=seed)  # other noise in the pauses of each string
        with atomic_write(path, "wb") as file:
            soundfile.write(file, sound.numpy(), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        utterances.append(Utterance(path, len(sound) / SAMPLE_RATE, string.text, id=string.id, speaker=string.speaker))
    return utterances
