"""Translation of files and microphones for `run`."""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.problems import Problems
from mnemic_kit.result_files import show_files, unique_names, write_formats
from mnemic_speech.audio import stream_audio
from mnemic_speech.simultaneous import SimultaneousTranslator, Translator, WrittenWord, join_words
from mnemic_speech.transcript import Transcript, TranscriptSegment, Word
from mnemic_translate.options import Format

_BLOCK_SECONDS = 0.32


def translate_files(
    translator: Translator,
    files: Sequence[Path],
    out: Path,
    formats: Sequence[Format],
    console: Console,
    track: int | None = None,
) -> Problems:
    """Translate files, show the words as they come, and write the results; return the problems.

    ``track`` is that of `read_audio`.
    """
    problems = Problems()
    rate = translator.features.config.sample_rate
    for path, name in zip(files, unique_names(files), strict=True):
        with problems.collecting():
            console.rule(path.name, align="left")
            blocks = stream_audio(path, rate, _BLOCK_SECONDS, track=track)
            transcript, failure = translate_blocks(translator, blocks, console)
            show_files(write_formats(out, name, formats, transcript.render), console)
            if failure is not None:
                raise UserError(f"{path}: {failure} (the part before it was translated)")
    return problems


def translate_blocks(
    translator: Translator, blocks: Iterable[Float[Tensor, " samples"]], console: Console
) -> tuple[Transcript, Exception | None]:
    """Return the translation of audio, shown as it comes, and the error at which the audio ended, if any.

    Ctrl-C ends it, as microphones have no end.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if none of it can be read.
    """
    session, words, spent = SimultaneousTranslator(translator), list[WrittenWord](), 0.0
    failure: Exception | None = None
    try:
        with suppress(KeyboardInterrupt):
            for block in blocks:
                started = time.perf_counter()
                new = session.push(block)
                spent += time.perf_counter() - started
                show_words(new, console)
                words += new
    except (UserError, OSError) as error:
        if session.seconds == 0:  # nothing to keep
            raise
        failure = error
    duration = session.seconds  # finish() resets it
    rest = session.finish()
    show_words(rest, console)
    console.print(f"{duration:.1f} s, real-time factor {spent / max(duration, 1e-9):.3f}", style="dim", highlight=False)
    return as_transcript([*words, *rest], duration, translator.target), failure


def show_words(words: Sequence[WrittenWord], console: Console) -> None:
    """Print the words that were written at the same time in one line, after the seconds of source heard by then."""
    for seconds, group in groupby(words, lambda word: word.seconds):
        text = " ".join(word.text for word in group)
        console.print(f"{seconds:8.2f} s  {text}", highlight=False, markup=False, soft_wrap=True)


def as_transcript(words: Sequence[WrittenWord], duration: float, language: str) -> Transcript:
    """Return a translation as text with times, one segment for each utterance; words last until the next one."""
    segments = []
    for _, group in groupby(words, lambda word: word.utterance):
        spoken = list(group)
        ends = [*(word.seconds for word in spoken[1:]), spoken[-1].seconds]
        timed = tuple(Word(word.text, word.seconds, end) for word, end in zip(spoken, ends, strict=True))
        text = join_words((word.text for word in spoken), language)
        segments.append(TranscriptSegment(timed[0].start, timed[-1].end, text, timed))
    return Transcript(tuple(segments), duration, language)
