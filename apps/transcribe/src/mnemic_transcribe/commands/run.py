"""``mnemic-transcribe run``: transcribe files or a microphone."""

import sys
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_speech.channel_selection import Channels
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_transcribe.options import Format


def run(
    files: tuple[Path, ...] = (),
    /,
    out: Path = Path("runs/transcripts"),
    checkpoint: Path | None = None,
    formats: tuple[Format, ...] = ("txt", "json", "srt", "vtt"),
    decoding: Decoding | None = None,
    beam: int | None = None,
    track: int | None = None,
    channels: Channels = "auto",
    microphone: bool = False,
    device: Device = "auto",
) -> None:
    """Transcribe recordings of any length and format, such as: run talk.mp3 interview.mp4 --out transcripts.

    Unreadable files are skipped and listed at the end, with exit code 2; of damaged files the part before the damage is
    transcribed.

    Args:
        files: audio or video files.
        out: folder for the results; created if absent.
        checkpoint: weights; default: the shipped ones, for English digits.
        formats: files to write for each recording: txt (one line per segment), json (words with times and confidences),
            srt and vtt (subtitles).
        decoding: ctc is fast; joint and attention search with the decoder; rescoring is in between. Default: that of
            the checkpoint.
        beam: hypotheses kept in a search; more is slower and slightly better.
        track: number of the audio track of films that have several, from 1; default: the one marked as default.
        channels: mix: the mean of all; each: every channel by itself, and words carry its number; the number of one,
            from 1; auto: each if two channels have a speaker each, as in recorded calls, otherwise mix.
        microphone: transcribe the default microphone instead of files; Ctrl-C ends and writes the results.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_kit.result_files import show_files, unique_names, write_formats
    from mnemic_speech.audio import stream_microphone
    from mnemic_transcribe.checkpoints import open_transcriber
    from mnemic_transcribe.running import listen, transcribe_files, warn_if_unlike_training

    if microphone == bool(files):
        raise UserError("give files to transcribe, or --microphone, and not both")
    names = ["microphone"] if microphone else unique_names(files)
    check_outputs(*(out / f"{name}.{kind}" for name in names for kind in formats))
    transcriber = open_transcriber(checkpoint, decoding=decoding, beam=beam, device=device)
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    if microphone:
        transcript = listen(transcriber, stream_microphone(transcriber.sample_rate), console)
        warn_if_unlike_training(transcriber, transcript, "the recording")
        show_files(write_formats(out, "microphone", formats, transcript.render), console)
        return
    if failures := transcribe_files(transcriber, files, out, formats, console, track, channels):
        sys.stderr.write("".join(f"failed: {failure}\n" for failure in failures))
        sys.exit(USER_ERROR)
