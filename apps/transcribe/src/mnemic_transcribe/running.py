"""Files and microphones in, transcripts out."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.audio import audio_duration, stream_audio
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.transcript import Transcript
from mnemic_transcribe.options import Format
from mnemic_transcribe.progress import audio_progress
from mnemic_transcribe.results import unique_names, write_transcript

_LOOK_SECONDS = 0.5  # between two looks at the segment that is still open


def transcribe_files(
    transcriber: Transcriber, files: tuple[Path, ...], out: Path, formats: tuple[Format, ...], console: Console
) -> list[str]:
    """Write the transcripts of files and return what went wrong, one line for each file that failed.

    Args:
        transcriber: recognizer and how it decodes.
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
        show_files(write_transcript(transcript, out, name, formats), console)
        if failure is not None:
            failures.append(f"{_line(path, failure)} (what comes before has been transcribed)")
    return failures


def transcribe_file(
    transcriber: Transcriber, path: Path, advance: Callable[[float], None]
) -> tuple[Transcript, Exception | None]:
    """Return what is said in a file, and why it broke off if it did.

    Args:
        transcriber: recognizer and how it decodes.
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
        transcriber: recognizer and how it decodes.
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


def _line(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if str(path) in text else f"{path}: {text}"


def show_files(paths: list[Path], console: Console) -> None:
    """Print where files are."""
    for path in paths:
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
