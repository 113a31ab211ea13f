"""Waveforms from files and microphones: mono, at the requested rate, complete or in blocks.

Files and streams share one pipeline (mean of the channels, streaming resampler, clipping at ±1), so that both give the
same samples. Times count from the beginning of the file: sound that starts late or pauses is silent until it comes.
Silent and clipped recordings are legal.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.audio_sources import AudioSource, open_microphone, open_source
from mnemic_speech.channel_selection import Channels
from mnemic_speech.channels import are_separate, mix_channels
from mnemic_speech.container_source import Block
from mnemic_speech.resample import Resampler

_SLACK = 0.1  # seconds a part may exceed the end of the file: durations in manifests are rounded
_LIVE_SECONDS = 0.1


def read_audio(
    path: str | Path,
    sample_rate: int,
    *,
    offset: float = 0.0,
    duration: float | None = None,
    track: int | None = None,
    channel: int | None = None,
) -> Float[Tensor, " samples"]:
    """Return a recording, or a part of it, as a mono waveform in [-1, 1].

    Args:
        path: WAV, FLAC, OGG, MP3, or anything with an audio track that FFmpeg decodes, videos included. The format is
            detected from the content, not the suffix.
        sample_rate: requested samples per second; the file may have any.
        offset: where the part begins, in seconds.
        duration: length in seconds; None: to the end.
        track: number of the audio track, from 1; None: the default one, or the first that can be decoded.
        channel: number of the channel, from 1; None: the mean of all.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is not audio, empty, truncated or damaged; a sample is NaN or infinite (the message says
            where); the part is negative or ends more than 0.1 s after the file; there is no such track or channel.
    """
    if offset < 0 or (duration is not None and duration <= 0):
        raise UserError(
            f"{path}: a part needs an offset of at least 0 and a duration above 0 s, got {offset} and {duration}"
        )
    with closing(open_source(path, track)) as source:
        first = round(offset * source.sample_rate)
        count = None if duration is None else max(round(duration * source.sample_rate), 1)
        pieces = _pieces(source, sample_rate, str(path), first, count, channel=channel)
        waveform = torch.cat([torch.zeros(0), *pieces])
    if len(waveform) == 0:
        what = f"ends before the offset {offset} s" if offset else "holds no samples"
        raise UserError(f"{path} {what}; give a file with audio there")
    if duration is not None and len(waveform) < (duration - _SLACK) * sample_rate:
        end = offset + len(waveform) / sample_rate
        raise UserError(f"{path} ends at {end:.2f} s, before the requested end at {offset + duration:.2f} s")
    return waveform


def stream_audio(
    path: str | Path,
    sample_rate: int,
    block_seconds: float = 1.0,
    *,
    track: int | None = None,
    channel: int | None = None,
) -> Iterator[Float[Tensor, " samples"]]:
    """Yield a recording of any length as mono blocks in [-1, 1]; concatenated they equal ``read_audio``.

    Memory use is a few blocks, the last of which may be shorter. ``track`` and ``channel`` are those of `read_audio`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as for ``read_audio``. Samples before the damage are yielded first.
    """
    with closing(open_source(path, track)) as source:
        is_empty = True
        pieces = _pieces(source, sample_rate, str(path), channel=channel)
        for block in _blocks(pieces, _block_size(block_seconds, sample_rate)):
            is_empty = False
            yield block
        if is_empty:
            raise UserError(f"{path} holds no samples; give a file with audio")


def stream_microphone(sample_rate: int, device: str | None = None) -> Iterator[Float[Tensor, " samples"]]:
    """Yield endless microphone input as mono blocks of 0.1 s in [-1, 1].

    Args:
        sample_rate: requested samples per second; the device may have another rate.
        device: its name as the system knows it (Linux: ``"plughw:1"``, macOS: the number, Windows: the name); None for
            the default one.

    Raises:
        UserError: there is no microphone, it cannot be opened, or it is unplugged.
    """
    with closing(open_microphone(device)) as source:
        pieces = _pieces(source, sample_rate, "the microphone", max_seconds=0.0)
        yield from _blocks(pieces, _block_size(_LIVE_SECONDS, sample_rate))


def audio_duration(path: str | Path) -> float:
    """Return the seconds of audio in a file without decoding it; of MP3 and videos to within about 0.1 s.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not audio.
    """
    with closing(open_source(path)) as source:
        return source.num_frames() / source.sample_rate


def find_channels(path: str | Path, channels: Channels, track: int | None = None) -> tuple[int | None, ...]:
    """Return what to read of a recording: numbers of channels, or None for the mean of all.

    Args:
        path: an audio file or a video.
        channels: what to read; whether two channels have a speaker each is decided by the complete recording.
        track: that of `read_audio`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not audio, or there is no such track or channel.
    """
    if channels == "mix":
        return (None,)
    with closing(open_source(path, track)) as source:
        if isinstance(channels, int):
            _check_channel(channels, source.num_channels, str(path))
            return (channels,)
        every = tuple(range(1, source.num_channels + 1))
        if len(every) < 2:
            return (None,)
        if channels == "each":
            return every
        try:
            is_call = len(every) == 2 and are_separate(source.blocks(), source.sample_rate)
        except UserError:  # reading says it again, after the part before the damage
            return (None,)
    return every if is_call else (None,)


def _check_channel(channel: int, num_channels: int, label: str) -> None:
    if not 1 <= channel <= num_channels:
        raise UserError(f"{label} has {num_channels} channels, numbered from 1; there is no channel {channel}")


def _block_size(seconds: float, sample_rate: int) -> int:
    if round(seconds * sample_rate) < 1:
        raise UserError(f"a block must have at least one sample, got block_seconds={seconds} at {sample_rate} Hz")
    return round(seconds * sample_rate)


def _pieces(
    source: AudioSource,
    sample_rate: int,
    label: str,
    first: int = 0,
    count: int | None = None,
    max_seconds: float = 10.0,
    channel: int | None = None,
) -> Iterator[Tensor]:
    """Yield a part of a source, mono and resampled, in pieces of any size; on an error the samples read come first.

    ``max_seconds`` is that of `mix_channels`, ``channel`` that of `read_audio`.
    """
    if channel is not None:
        _check_channel(channel, source.num_channels, label)
    resampler = Resampler(source.sample_rate, sample_rate)
    try:
        finite = _finite(source.blocks(first, count), label, first, source.sample_rate)
        mixed = mix_channels(finite, source.sample_rate, max_seconds)
        chosen = mixed if channel is None else (np.ascontiguousarray(block[:, channel - 1]) for block in finite)
        for samples in chosen:
            yield resampler.push(torch.from_numpy(samples)).clamp(-1, 1)
    except ValueError:
        yield resampler.finish().clamp(-1, 1)
        raise
    yield resampler.finish().clamp(-1, 1)


def _finite(blocks: Iterable[Block], label: str, position: int, sample_rate: int) -> Iterator[Block]:
    for block in blocks:
        is_finite = np.isfinite(block).all(axis=1)
        good = block if is_finite.all() else block[: int(is_finite.argmin())]
        yield good
        position += len(good)
        if len(good) < len(block):
            raise UserError(f"{label} has a NaN or infinite sample at {position / sample_rate:.3f} s; export it again")


def _blocks(pieces: Iterable[Float[Tensor, " samples"]], size: int) -> Iterator[Float[Tensor, " samples"]]:
    """Regroup pieces into blocks of ``size``; on an error a last, shorter block comes first."""
    held = torch.zeros(0)
    try:
        for piece in pieces:
            held = torch.cat([held, piece])
            while len(held) >= size:
                yield held[:size]
                held = held[size:]
    except ValueError:
        if len(held):
            yield held
        raise
    if len(held):
        yield held
