"""Transcripts as files."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mnemic_kit.atomic_files import atomic_write
from mnemic_speech.transcript import Transcript
from mnemic_transcribe.options import Format


def _to_json(transcript: Transcript) -> str:
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[Format, Callable[[Transcript], str]] = MappingProxyType(
    {"txt": Transcript.to_text, "json": _to_json, "srt": Transcript.to_srt, "vtt": Transcript.to_vtt}
)
"""Writers by format: lines of text, words with times and confidences, and two subtitle formats."""


def write_transcript(transcript: Transcript, folder: Path, name: str, formats: Sequence[Format]) -> list[Path]:
    """Write a transcript atomically and return the files."""
    paths = [folder / f"{name}.{kind}" for kind in formats]
    for path, kind in zip(paths, formats, strict=True):
        with atomic_write(path) as file:
            file.write(FORMATS[kind](transcript))
    return paths
