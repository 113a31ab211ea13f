"""Audio sources: files read by soundfile, all other formats through FFmpeg, and live inputs."""

import re
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from os import SEEK_END, environ
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import av
import numpy as np
import soundfile
from av.container import InputContainer
from jaxtyping import Float32

from mnemic_core.errors import UserError

Block: TypeAlias = Float32[np.ndarray, "frame channel"]

# Magic bytes of formats that soundfile reads: WAV, FLAC, OGG, AIFF, AU, NIST (TED-LIUM), Wave64, CAF. MP3 goes
# through FFmpeg: libsndfile 1.2 estimates the length of files without a Xing header and drops samples past it.
_SOUNDFILE_MARKS = frozenset({b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"riff", b"caff"})
_BLOCK_FRAMES = 4096  # at most this many frames before the damage of a file are lost
_STREAMED_SIZE = 0x7FFF0000  # writers of WAV to a pipe put a size of at least this for "unknown"
_LONGEST_OGG_PAGE = 65307
_MISSING_END = 1.0  # seconds by which a complete matroska file may fall short of its header

_ALSA_SETTINGS = Path("/usr/share/alsa/alsa.conf")
_LIVE_INPUTS = {  # by platform: FFmpeg's format, the default device, how a device is named to FFmpeg
    "linux": ("alsa", "default", "{}"),
    "darwin": ("avfoundation", "default", ":{}"),
    "win32": ("dshow", "", "audio={}"),
}


@runtime_checkable
class AudioSource(Protocol):
    """Audio at its native rate and channels; must be closed."""

    sample_rate: int

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends."""

    def num_frames(self) -> int:
        """Return the number of frames; for some compressed formats up to a packet too many."""

    def close(self) -> None:
        """Release the file or the device."""


def open_source(path: str | Path) -> AudioSource:
    """Open an audio file, or a video with an audio track; the format is detected from the content.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read as audio.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give an audio file or a video")
    with path.open("rb") as file:
        mark = file.read(4)
    if not mark:
        raise UserError(f"{path} is empty (0 bytes); give a complete audio file")
    if mark in _SOUNDFILE_MARKS:
        try:
            sound = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, TypeError):  # an unknown codec, or the suffix .raw
            pass
        else:
            if 0 < sound.frames < sys.maxsize:
                return SoundFileSource(sound, path)
            sound.close()  # written to a pipe, so of unknown length; FFmpeg reads it to the end
    try:
        container = av.open(f"file:{path}")  # so that a colon in the name is no protocol
    except (av.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        raise UserError(f"{path} cannot be read as audio ({reason}); is the file complete?") from error
    return ContainerSource(container, str(path), announced_packets=_mp3_frames(path))


def open_microphone(device: str | None = None) -> AudioSource:
    """Open a live input through FFmpeg: ALSA on Linux, AVFoundation on macOS, DirectShow on Windows.

    Args:
        device: name of the device as the system knows it (Linux: ``"plughw:1"``, from ``arecord -l``); None for the
            default one.

    Raises:
        UserError: it cannot be opened.
    """
    kind, default, form = _LIVE_INPUTS.get(sys.platform, _LIVE_INPUTS["linux"])
    name = device or default
    if _ALSA_SETTINGS.is_file():  # FFmpeg's bundled ALSA searches the paths of its build machine
        environ.setdefault("ALSA_CONFIG_PATH", str(_ALSA_SETTINGS))
    try:
        container = av.open(form.format(name), format=kind)
    except (av.FFmpegError, ValueError) as error:
        raise UserError(
            f"microphone {name!r} cannot be opened through {kind} ({error}); name another device (on Linux plughw:0, "
            "plughw:1, ... as arecord -l lists them) or record to a file"
        ) from error
    return ContainerSource(container, f"microphone {name!r}")


class SoundFileSource:
    """A file opened by soundfile, which is closed with this source."""

    def __init__(self, file: soundfile.SoundFile, path: Path) -> None:
        self._file = file
        self._path = path
        self.sample_rate: int = file.samplerate

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends.

        Raises:
            UserError: after the last frame, when the file is damaged or cut off before the wanted end.
        """
        if first >= self._file.frames:
            return
        self._file.seek(first)
        wanted = sys.maxsize if count is None else count
        read = 0
        while read < wanted:
            try:
                block = self._file.read(min(_BLOCK_FRAMES, wanted - read), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _cut_off(str(self._path), (first + read) / self.sample_rate, str(error)) from error
            if not len(block):
                break
            read += len(block)
            yield block
        if read < wanted and (reason := self._what_is_missing(first + read)):
            raise _cut_off(str(self._path), (first + read) / self.sample_rate, reason)

    def num_frames(self) -> int:
        """Return the number of frames."""
        return int(self._file.frames)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _what_is_missing(self, read: int) -> str:
        """Return why the file is shorter than announced; empty when it is complete."""
        if self._file.format == "OGG":
            return "its last page is incomplete" if _ends_within_ogg_page(self._path) else ""
        # libsndfile silently shortens the audio to the bytes present, but logs the size in the header.
        found = re.search(r"(?:data|SSND) : (\d+) \(should be (\d+)\)", self._file.extra_info)
        if found and int(found[2]) < int(found[1]) < _STREAMED_SIZE:
            return f"it has {found[2]} bytes of audio and announces {found[1]}"
        if read < self._file.frames:
            return f"it announces {self._file.frames / self.sample_rate:.2f} s"
        return ""


class ContainerSource:
    """The first audio track of a container opened by FFmpeg, which is closed with this source.

    Args:
        container: the open container.
        label: its name in messages.
        announced_packets: number of audio packets in the header; 0 if unknown.
    """

    def __init__(self, container: InputContainer, label: str, announced_packets: int = 0) -> None:
        if not container.streams.audio:
            container.close()
            raise UserError(f"{label} has no audio stream; give a file with sound")
        self._container = container
        self._label = label
        self._announced_packets = announced_packets
        self._stream = container.streams.audio[0]
        self.sample_rate: int = self._stream.codec_context.sample_rate

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends.

        Frames before ``first`` are decoded too: in many formats seeking is not exact.

        Raises:
            UserError: after the last frame, when the audio is damaged or cut off before the wanted end.
        """
        skip, wanted = first, sys.maxsize if count is None else count
        with closing(self._decoded()) as decoded:
            for block in decoded:
                kept = block[skip:][:wanted]
                skip = max(skip - len(block), 0)
                wanted -= len(kept)
                if len(kept):
                    yield kept
                if wanted == 0:
                    return

    def num_frames(self) -> int:
        """Return the number of frames by the packet headers; this consumes the container."""
        packets = self._container.demux(self._stream)
        seconds = sum((packet.duration or 0) * packet.time_base for packet in packets if packet.time_base)
        return round(seconds * self.sample_rate)

    def close(self) -> None:
        """Release the file or the device."""
        self._container.close()

    def _decoded(self) -> Generator[Block, None, None]:
        read, packets, end, reason = 0, 0, 0.0, ""
        is_wav = self._container.format.name == "wav"  # a WAV from a pipe ends within a packet
        try:
            for packet in self._container.demux():  # of all tracks, which show together whether the file is complete
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index != self._stream.index:
                    continue
                if packet.size:  # the last packet is empty and only flushes the decoder
                    packets += 1
                    reason = "its last packet is incomplete" if packet.is_corrupt and not is_wav else ""
                for frame in packet.decode():
                    block = self._to_block(frame)
                    read += len(block)
                    yield block
        except av.FFmpegError as error:
            reason = str(error.strerror)
        if reason := reason or self._what_is_missing(packets, end):
            raise _cut_off(self._label, read / self.sample_rate, reason)

    def _what_is_missing(self, packets: int, end: float) -> str:
        """Return why the file is shorter than announced; empty when it is complete."""
        if packets + 1 < self._announced_packets:  # encoders differ in whether the table itself counts as a packet
            return f"it announces {self._announced_packets} packets and has {packets}"
        announced = (self._container.duration or 0) / av.time_base
        if "matroska" in self._container.format.name and end + _MISSING_END < announced:
            return f"it announces {announced:.2f} s"
        return ""

    def _to_block(self, frame: object) -> Block:
        assert isinstance(frame, av.AudioFrame)
        if frame.sample_rate != self.sample_rate:
            raise UserError(f"{self._label} changes its sampling rate midway; convert it to one rate")
        values: np.ndarray[Any, np.dtype[Any]] = frame.to_ndarray()
        if frame.format.is_packed:
            values = values.reshape(frame.samples, -1).T
        if values.dtype.kind == "f":
            return values.T.astype(np.float32)
        full = 1 << (8 * values.dtype.itemsize - 1)
        middle = full if values.dtype.kind == "u" else 0  # 8-bit audio is unsigned
        return ((values.T.astype(np.float64) - middle) / full).astype(np.float32)


def _ends_within_ogg_page(path: Path) -> bool:
    """Return whether the last page of an OGG file is longer than the file (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(-min(_LONGEST_OGG_PAGE, path.stat().st_size), SEEK_END)
        tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    num_segments = page[26] if len(page) > 26 else len(page)
    return len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments])


def _mp3_frames(path: Path) -> int:
    """Return the number of frames that the table in the first frame of an MP3 announces, 0 without one."""
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":  # its size is in the low seven bits of four bytes
            file.seek(10 + sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=False)))
        else:
            file.seek(0)
        head = file.read(64)  # the table follows the header and at most 32 bytes of side information
    place = max(head.find(b"Xing"), head.find(b"Info"))
    has_count = head[:1] == b"\xff" and place > 0 and len(head) >= place + 12 and head[place + 7] & 1
    return int.from_bytes(head[place + 8 : place + 12], "big") if has_count else 0


def _cut_off(label: str, seconds: float, reason: str) -> UserError:
    return UserError(f"{label} is damaged or cut off after {seconds:.2f} s ({reason}); give a complete copy")
