"""``mnemic-transcribe run``: transcribe files or a microphone."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.devices import Device
from mnemic_kit.parse import call, join_lists
from mnemic_speech.audio import audio_duration, stream_audio, stream_microphone
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import Decoding
from mnemic_speech.transcript import Transcript
from mnemic_transcribe.progress import audio_progress
from mnemic_transcribe.results import Format, unique_names, write_transcript
from mnemic_transcribe.transcribers import open_transcriber

_LOOK_SECONDS = 0.5  # between two looks at the segment that is still open


def run(
    files: tuple[Path, ...] = (),
    out: Path = Path("runs/transcripts"),
    checkpoint: Path | None = None,
    formats: tuple[Format, ...] = ("txt", "json", "srt", "vtt"),
    decoding: Decoding | None = None,
    beam: int | None = None,
    microphone: bool = False,
    device: Device = "auto",
) -> None:
    """Transcribe recordings of any length and format, such as: run talk.mp3 interview.mp4 --out transcripts.

    A file that cannot be read is reported and the rest goes on; what was heard before a damage is kept. In the end
    such files are listed and the exit code is 2.

    Args:
        files: audio or video files; they stand without the name of the option.
        out: folder for the results; made when absent.
        checkpoint: weights to run; the shipped ones, which know English digits, by default.
        formats: files to write for each recording: txt (a line a segment), json (words with times and confidences),
            srt and vtt (subtitles).
        decoding: ctc is fast; joint and attention search with the decoder; rescoring is between them. By default as
            the checkpoint says.
        beam: hypotheses that a search keeps; more is slower and slightly better.
        microphone: listen to the default microphone instead of files; Ctrl-C ends and writes the results.
        device: where to run; auto takes a GPU where there is one.
    """
    if microphone == bool(files):
        raise UserError("give files to transcribe, or --microphone, and not both")
    transcriber = open_transcriber(checkpoint, decoding=decoding, beam=beam, device=device)
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    if microphone:
        transcript = listen(transcriber, stream_microphone(transcriber.sample_rate), console)
        _show_files(write_transcript(transcript, out, "microphone", formats), console)
        return
    if failures := transcribe_files(transcriber, files, out, formats, console):
        sys.stderr.write("".join(f"failed: {failure}\n" for failure in failures))
        sys.exit(USER_ERROR)


def transcribe_files(
    transcriber: Transcriber, files: tuple[Path, ...], out: Path, formats: tuple[Format, ...], console: Console
) -> list[str]:
    """Write the transcripts of files and return what went wrong, one line for each file that failed.

    Args:
        transcriber: recogniser and how it decodes.
        files: audio or video files.
        out: folder for the results.
        formats: files to write for each.
        console: where progress is shown.
    """
    failures = []
    for path, name in zip(files, unique_names(files), strict=True):
        try:
            seconds = audio_duration(path)
            started = time.perf_counter()
            with audio_progress(path.name, seconds, console) as advance:
                transcript, failure = transcribe_file(transcriber, path, advance)
        except (UserError, OSError) as error:
            failures.append(_line(path, error))
            continue
        words = len(transcript.text.split())
        factor = (time.perf_counter() - started) / transcript.duration
        facts = f"{transcript.duration:.1f} s, {words} words, real-time factor {factor:.3f}"
        console.print(f"{path.name}: {facts}", highlight=False, markup=False, soft_wrap=True)
        _show_files(write_transcript(transcript, out, name, formats), console)
        if failure is not None:
            failures.append(f"{_line(path, failure)} (what comes before has been transcribed)")
    return failures


def transcribe_file(
    transcriber: Transcriber, path: Path, advance: Callable[[float], None]
) -> tuple[Transcript, Exception | None]:
    """Return what is said in a file, and why it broke off if it did.

    Args:
        transcriber: recogniser and how it decodes.
        path: audio or video file.
        advance: told the seconds of audio that are done.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if nothing of it can be read.
    """
    stream = transcriber.stream(transcriber.sample_rate)
    segments = []
    failure: Exception | None = None
    try:
        for block in stream_audio(path, transcriber.sample_rate):
            segments += stream.push(block)
            advance(len(block) / transcriber.sample_rate)
    except (UserError, OSError) as error:
        if stream.seconds == 0:
            raise
        failure = error
    duration = stream.seconds
    return Transcript((*segments, *stream.finish()), duration), failure


def listen(transcriber: Transcriber, blocks: Iterable[Float[Tensor, " samples"]], console: Console) -> Transcript:
    """Show what is said while it is said, until Ctrl-C; return all of it.

    Args:
        transcriber: recogniser and how it decodes.
        blocks: the sound as it comes, at its sampling rate.
        console: where the segments are shown, the last one as far as it was heard.
    """
    stream = transcriber.stream(transcriber.sample_rate)
    segments = []
    looked = 0.0
    with console.status("listening; Ctrl-C ends") as status:
        try:
            for block in blocks:
                for segment in stream.push(block):
                    segments.append(segment)
                    console.print(f"[{segment.start:.1f} s] {segment.text}", highlight=False, markup=False)
                if stream.seconds - looked >= _LOOK_SECONDS:
                    looked = stream.seconds
                    status.update(stream.partial() or "listening; Ctrl-C ends")
        except KeyboardInterrupt:  # that is how a microphone ends
            pass
    duration = stream.seconds
    return Transcript((*segments, *stream.finish()), duration)


def name_files(arguments: list[str]) -> list[str]:
    """Return the arguments with the files, which stand without a name, as one option.

    Example:
        >>> name_files(["a.wav", "--out", "x", "b, c.wav", "--formats", "txt", "srt"])
        ['--out', 'x', '--formats', 'txt', 'srt', '--files', '["a.wav", "b, c.wav"]']
    """
    files: list[str] = []
    others: list[str] = []
    option = ""  # whose values may follow
    for word in arguments:
        if word.startswith("-"):
            others.append(word)
            option = "" if "=" in word or word in {"--microphone", "--help", "-h"} else word
        elif option:
            others.append(word)
            option = option if option == "--formats" else ""
        else:
            files.append(word)
    return [*others, "--files", json.dumps(files)] if files else others


def _line(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if str(path) in text else f"{path}: {text}"


def _show_files(paths: list[Path], console: Console) -> None:
    for path in paths:
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(run, program, join_lists(name_files(arguments), {"--formats"}))
