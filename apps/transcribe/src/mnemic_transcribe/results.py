"""Transcripts as files."""

from collections.abc import Sequence
from pathlib import Path

from mnemic_kit.atomic_files import atomic_write
from mnemic_speech.transcript import Transcript
from mnemic_transcribe.options import Format


def write_transcript(transcript: Transcript, folder: Path, name: str, formats: Sequence[Format]) -> list[Path]:
    """Write a transcript atomically and return the files."""
    paths = [folder / f"{name}.{kind}" for kind in formats]
    for path, kind in zip(paths, formats, strict=True):
        with atomic_write(path) as file:
            file.write(transcript.render(kind))
    return paths
