"""``mnemic-translate run``: translate files or a microphone while they are heard."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_translate.options import Format, PolicyName, Shift


def run(
    files: tuple[Path, ...] = (),
    /,
    to: str | None = None,
    out: Path = Path("runs/translations"),
    checkpoint: Path | None = None,
    formats: tuple[Format, ...] = ("txt", "json", "srt", "vtt"),
    policy: PolicyName | None = None,
    k: int | None = None,
    n: int | None = None,
    shift: Shift | None = None,
    track: int | None = None,
    microphone: bool = False,
    device: Device = "auto",
) -> None:
    """Translate recordings of any length and format, such as: run talk.mp3 --to de --k 5.

    Words are shown with the seconds of the source that had been heard when they were written; they are never changed
    afterwards. Recordings are cut into utterances at pauses. Unreadable files are skipped and listed at the end, with
    exit code 2; of damaged files the part before the damage is translated.

    Args:
        files: audio or video files.
        to: language of the translation; default: that of the checkpoint.
        out: folder for the results; created if absent.
        checkpoint: weights; default: the shipped ones, English to German.
        formats: files to write for each recording: txt (a line for each utterance), json (words with times), srt and
            vtt (subtitles).
        policy: wait_k, local_agreement or hold_n; default: that of the checkpoint.
        k: decisions of 320 ms that wait_k waits for before the first token: more is slower and better.
        n: tokens that hold_n holds back.
        shift: which missing context of windows is replaced: all is shiftable context; default: as the checkpoint.
        track: number of the audio track of films that have several, from 1; default: the one marked as default.
        microphone: translate the default microphone instead of files; Ctrl-C ends and writes the results.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_kit.result_files import show_files, unique_names, write_formats
    from mnemic_speech.audio import stream_microphone
    from mnemic_translate.checkpoints import InferenceOptions, open_translator
    from mnemic_translate.running import translate_blocks, translate_files

    if microphone == bool(files):
        raise UserError("give files to translate, or --microphone, and not both")
    names = ["microphone"] if microphone else unique_names(files)
    check_outputs(*(out / f"{name}.{kind}" for name in names for kind in formats))
    translator = open_translator(checkpoint, InferenceOptions(to, policy, k, n, shift), device)
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    if microphone:
        console.print("listening; Ctrl-C ends")
        blocks = stream_microphone(translator.features.config.sample_rate)
        transcript, _ = translate_blocks(translator, blocks, console)
        show_files(write_formats(out, "microphone", formats, transcript.render), console)
        return
    translate_files(translator, files, out, formats, console, track).end("failed")
