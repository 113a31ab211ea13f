"""``mnemic-translate prepare``: voice the sentences of a parallel text."""

import os
from pathlib import Path

DEFAULT_VOICES = ("flite:slt", "flite:rms", "flite:awb", "espeak-ng:en-us", "espeak-ng:en-gb", "espeak-ng:en-us+f3")


def prepare(
    folder: Path,
    /,
    out: Path,
    splits: tuple[str, ...] = ("train", "val"),
    spoken: str = "en",
    written: tuple[str, ...] = ("de",),
    voices: tuple[str, ...] = DEFAULT_VOICES,
    limit: int | None = None,
    seed: int = 0,
    jobs: int = 0,
) -> None:
    """Voice the sentences of a parallel text, such as Multi30k, and keep features for training.

    Writes out/SPLIT.jsonl, a manifest for fit and evaluate, and folders of 500 sentences each with audio (FLAC, 16 kHz)
    and features (0.25 MB a sentence in all). What is there already is kept: run it again after an interruption, or
    with a higher limit. flite and espeak-ng must be installed, where their voices are used.

    Args:
        folder: with files SPLIT.LANGUAGE or SPLIT.LANGUAGE.gz, aligned, one sentence a line.
        out: folder to write.
        splits: parts to voice.
        spoken: language that is voiced.
        written: languages of the translations.
        voices: each sentence is spoken by one of them, all equally often: flite:NAME or espeak-ng:NAME.
        limit: sentences of each part, from the first; all by default.
        seed: of the choice of voices.
        jobs: programs that run at once; 0: one for each core.
    """
    from rich.console import Console

    from mnemic_core.errors import UserError, check_at_least
    from mnemic_kit.progress import frame_progress
    from mnemic_kit.record import open_record
    from mnemic_speech.features import FeatureConfig
    from mnemic_translate.preparation import ParallelText, read_parallel, voice_pieces, write_manifest_of
    from mnemic_translate.voicing import Voice

    check_at_least(0, **{"--jobs": jobs, "--seed": seed})
    if limit is not None:
        check_at_least(1, **{"--limit": limit})
    if not voices:
        raise UserError("give at least one voice with --voices")
    found, config = [Voice.read(voice) for voice in voices], FeatureConfig("kaldi")
    texts = [read_parallel(folder, split, spoken, written) for split in splits]
    for voice in found:
        voice.check()
    settings = {"spoken": spoken, "written": written, "voices": list(map(str, found)), "seed": seed}
    record = open_record(out / "prepare.json", "mnemic-translate", settings, {"folder": folder})
    record.write({})
    console = Console()
    for text in texts:
        chosen = ParallelText(text.split, spoken, {language: lines[:limit] for language, lines in text.texts.items()})
        with frame_progress(text.split, len(chosen), console, "sentences") as advance:
            made = voice_pieces(chosen, found, out, config, seed, jobs or os.cpu_count() or 1, advance)
        path = write_manifest_of(out, text.split, made)
        hours = sum(utterance.seconds for utterance in made) / 3600
        console.print(f"{len(made)} utterances, {hours:.2f} h: {path}", highlight=False, soft_wrap=True)
