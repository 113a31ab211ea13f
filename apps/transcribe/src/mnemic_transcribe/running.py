"""Transcription of files and microphones for `run`."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.media import announce
from mnemic_kit.progress import audio_progress
from mnemic_kit.result_files import show_files, unique_names, write_formats
from mnemic_speech.audio import audio_duration, find_channels, stream_audio
from mnemic_speech.channel_selection import Channels
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.transcript import Transcript, join_channels
from mnemic_transcribe.options import Format

_LISTENING = "listening; Ctrl-C ends"
_UPDATE_SECONDS = 0.5  # interval of updates of the open segment


def transcribe_files(
    transcriber: Transcriber,
    files: tuple[Path, ...],
    out: Path,
    formats: tuple[Format, ...],
    console: Console,
    track: int | None = None,
    channels: Channels = "auto",
) -> list[str]:
    """Write the transcripts of files; return one line for each failure.

    ``track`` is that of `read_audio`, ``channels`` that of `find_channels`.
    """
    failures = []
    for path, name in zip(files, unique_names(files), strict=True):
        try:
            seconds = audio_duration(path)
            chosen = find_channels(path, channels, track)
            started = time.perf_counter()
            with audio_progress(path.name, seconds * len(chosen), console) as advance:
                transcript, failure = transcribe_channels(transcriber, path, advance, track, chosen)
        except (UserError, OSError) as error:
            failures.append(_line(path, error))
            continue
        words = len(transcript.text.split())
        # Never a division by 0: a file without samples raises above.
        factor = (time.perf_counter() - started) / transcript.duration
        apart = f" in {len(chosen)} channels" if len(chosen) > 1 else ""
        facts = f"{transcript.duration:.1f} s, {words} words{apart}, real-time factor {factor:.3f}"
        console.print(f"{path.name}: {facts}", highlight=False, markup=False, soft_wrap=True)
        warn_if_unlike_training(transcriber, transcript, path.name)
        show_files(write_formats(out, name, formats, transcript.render), console)
        if failure is not None:
            failures.append(f"{_line(path, failure)} (the part before it was transcribed)")
    return failures


def transcribe_channels(
    transcriber: Transcriber,
    path: Path,
    advance: Callable[[float], None],
    track: int | None,
    channels: Sequence[int | None],
) -> tuple[Transcript, Exception | None]:
    """Return one transcript of the given channels, each transcribed on its own; otherwise as `transcribe_file`."""
    found, failure = {}, None
    for channel in channels:
        transcript, failure = transcribe_file(transcriber, path, advance, track, channel)
        if channel is None:
            return transcript, failure
        found[channel] = transcript
    return join_channels(found), failure


def transcribe_file(
    transcriber: Transcriber,
    path: Path,
    advance: Callable[[float], None],
    track: int | None = None,
    channel: int | None = None,
) -> tuple[Transcript, Exception | None]:
    """Return the transcript of an audio or video file, and the error at which it ended, if any.

    ``advance`` is called with the seconds of audio processed.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if none of it can be read.
    """
    stream = transcriber.stream(transcriber.sample_rate)
    segments = []
    failure: Exception | None = None
    try:
        for block in stream_audio(path, transcriber.sample_rate, track=track, channel=channel):
            segments += stream.push(block)
            advance(len(block) / transcriber.sample_rate)
    except (UserError, OSError) as error:
        if stream.seconds == 0:  # nothing to keep
            raise
        failure = error
    return stream.finish_transcript(segments), failure


def listen(transcriber: Transcriber, blocks: Iterable[Float[Tensor, " samples"]], console: Console) -> Transcript:
    """Transcribe live audio with output until Ctrl-C; return the transcript."""
    stream = transcriber.stream(transcriber.sample_rate)
    segments = []
    updated = 0.0
    # Ctrl-C is the normal end of a microphone.
    with console.status(_LISTENING) as status, suppress(KeyboardInterrupt):
        for block in blocks:
            for segment in stream.push(block):
                segments.append(segment)
                console.print(f"[{segment.start:.1f} s] {segment.text}", highlight=False, markup=False)
            if stream.seconds - updated >= _UPDATE_SECONDS:
                updated = stream.seconds
                status.update(stream.partial() or _LISTENING)
    return stream.finish_transcript(segments)


def warn_if_unlike_training(transcriber: Transcriber, transcript: Transcript, name: str) -> None:
    """Say on the standard error that a recording sounds unlike those that the recognizer was trained on, if so."""
    highest, found = transcriber.settings.max_uncertainty, transcript.uncertainty
    if highest is not None and found is not None and found > highest:
        announce(
            f"{name} sounds unlike what this recognizer was trained on, its words are probably wrong "
            f"(uncertainty {found:.3f}, up to {highest:.3f} is usual)"
        )


def _line(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if str(path) in text else f"{path}: {text}"
