"""``mnemic-transcribe convert``: data sets of other layouts as a manifest."""

import sys
from pathlib import Path

import soundfile
from rich.console import Console
from rich.progress import track

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.parse import call
from mnemic_transcribe.data.corpora import read_corpus
from mnemic_transcribe.data.digits import SAMPLE_RATE, read_digit_strings, render
from mnemic_transcribe.data.manifest import Utterance, write_manifest


def convert(source: Path, out: Path, split: str | None = None) -> None:
    """Turn a data set of another layout into a manifest, the list that fit, evaluate and run read.

    A manifest has one JSON object a line: {"audio_filepath": "a.flac", "duration": 2.5, "text": "HELLO"}, with offset,
    id and speaker where known. Audio stays where it is; only digit strings are rendered, to FLAC files beside it.

    Args:
        source: SpeechBrain list (.csv), or a folder of LibriSpeech, TED-LIUM (with stm and sph), Kaldi (with wav.scp
            and text), with an index.tsv, or of digit strings (with strings.tsv).
        out: manifest to write, .jsonl; its folder must exist.
        split: part of the data: a value of the column split, or a folder in the source such as test-clean.
    """
    if out.suffix != ".jsonl":
        raise UserError(f"a manifest is a .jsonl file, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: the folder {out.parent} does not exist; create it first")
    problems: list[str] = []
    is_digits = (source / "strings.tsv").is_file()
    utterances = _rendered(source, split, out) if is_digits else read_corpus(source, split, problems)
    write_manifest(out, utterances)
    hours = sum(utterance.duration for utterance in utterances) / 3600
    Console().print(f"{len(utterances)} utterances, {hours:.2f} h: {out}", highlight=False, soft_wrap=True)
    if problems:
        sys.stderr.write("".join(f"left out: {problem}\n" for problem in problems))
        sys.exit(USER_ERROR)


def _rendered(folder: Path, split: str | None, out: Path) -> list[Utterance]:
    """Render digit strings to a folder with the name of the manifest."""
    target = out.with_suffix("")
    target.mkdir(exist_ok=True)
    utterances = []
    for seed, string in enumerate(track(read_digit_strings(folder, split), "rendering")):
        path = target / f"{string.id}.flac"
        sound = render(string, seed=seed)
        with atomic_write(path, "wb") as file:
            soundfile.write(file, sound.numpy(), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        utterances.append(Utterance(path, len(sound) / SAMPLE_RATE, string.text, id=string.id, speaker=string.speaker))
    return utterances


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(convert, program, arguments, as_positional=True)
