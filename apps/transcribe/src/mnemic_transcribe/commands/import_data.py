"""``mnemic-transcribe import-data``: convert data sets to a manifest."""

import sys
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.made_files import check_outputs


def import_data(source: Path, /, out: Path, split: str | None = None) -> None:
    """Convert a data set to a manifest for fit and evaluate.

    A manifest has one JSON object per line: {"audio_filepath": "a.flac", "duration": 2.5, "text": "HELLO"}, with
    offset, id and speaker where known. Audio files are not copied; digit strings are rendered to FLAC files next to
    the manifest. Rows that cannot be used are left out and listed, with exit code 2; without any other, nothing is
    written.

    Args:
        source: SpeechBrain list (.csv), or a folder of LibriSpeech, TED-LIUM (with stm and sph), Kaldi (with wav.scp
            and text), with an index.tsv, or of digit strings (with strings.tsv).
        out: manifest to write, .jsonl; its folder must exist.
        split: part of the data: a value of the column split, or a folder in the source such as test-clean.
    """
    from rich.console import Console

    from mnemic_kit.atomic_files import atomic_write
    from mnemic_speech.data import manifest_lines, read_corpus
    from mnemic_transcribe.rendering import render_strings

    if out.suffix != ".jsonl":
        raise UserError(f"a manifest is a .jsonl file, got {out}")
    # Before reading, which can take minutes for a large data set.
    if not out.parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: the folder {out.parent} does not exist; create it first")
    check_outputs(out)
    problems: list[str] = []
    is_digits = (source / "strings.tsv").is_file()
    utterances = render_strings(source, split, out) if is_digits else read_corpus(source, split, problems)
    absent = [each.audio_filepath for each in utterances if not each.audio_filepath.is_file()]
    problems += [f"{path} does not exist" for path in absent]
    utterances = [each for each in utterances if each.audio_filepath.is_file()]
    if not utterances:  # an earlier manifest stays
        raise UserError(
            f"{source} has no utterance that can be used; the first problem: {next(iter(problems), 'it is empty')}"
        )
    with atomic_write(out) as file:
        file.writelines(manifest_lines(utterances, out.parent))
    hours = sum(utterance.duration for utterance in utterances) / 3600
    Console().print(f"{len(utterances)} utterances, {hours:.2f} h: {out}", highlight=False, soft_wrap=True)
    if problems:
        sys.stderr.write("".join(f"left out: {problem}\n" for problem in problems))
        sys.exit(USER_ERROR)
