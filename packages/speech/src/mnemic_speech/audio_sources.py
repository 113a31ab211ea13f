"""Audio sources: files read by soundfile, all other formats through FFmpeg, and live inputs."""

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from os import SEEK_CUR, SEEK_END, environ
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
import soundfile

from mnemic_core.errors import UserError
from mnemic_core.media import announce
from mnemic_speech.container_source import Block, ContainerSource

# Magic bytes of formats that soundfile reads: WAV, FLAC, OGG, AIFF, AU, NIST (TED-LIUM), Wave64, CAF. MP3 goes
# through FFmpeg: libsndfile 1.2 estimates the length of files without a Xing header and drops samples past it.
_SOUNDFILE_MARKS = frozenset({b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"riff", b"caff"})
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_BLOCK_FRAMES = 4096  # at most this many frames before the damage of a file are lost
_STREAMED_SIZE = 0x7FFF0000  # writers of WAV to a pipe put a size of at least this for "unknown"
_LONGEST_OGG_PAGE = 65307

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
    num_channels: int

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends."""

    def num_frames(self) -> int:
        """Return the number of frames; for some compressed formats up to a packet too many."""

    def close(self) -> None:
        """Release the file or the device."""


def open_source(path: str | Path, track: int | None = None) -> AudioSource:
    """Open an audio file, or a video with an audio track; the format is detected from the content.

    Args:
        path: the file.
        track: number of the audio track, from 1; None: see `ContainerSource`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read as audio, or has no such track.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give an audio file or a video")
    with path.open("rb") as file:
        mark = file.read(4)
    if not mark:
        raise UserError(f"{path} is empty (0 bytes); give a complete audio file")
    if mark in _SOUNDFILE_MARKS and track is None and not (mark == b"OggS" and _is_chained_ogg(path)):
        try:
            sound = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, TypeError):  # an unknown codec, or the suffix .raw
            pass
        else:
            if 0 < sound.frames < sys.maxsize:
                return SoundFileSource(sound, path)
            sound.close()  # written to a pipe, so of unknown length; FFmpeg reads it to the end
    return _open_container(path, track)


def _open_container(path: Path, track: int | None = None) -> ContainerSource:
    try:
        container = av.open(f"file:{path}")  # so that a colon in the name is no protocol
    except (av.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        raise UserError(f"{path} cannot be read as audio ({reason}); is the file complete?") from error
    return ContainerSource(container, str(path), announced_packets=_mp3_frames(path), track=track)


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
    return ContainerSource(container, f"microphone {name!r}", is_live=True)


class SoundFileSource:
    """A file opened by soundfile, which is closed with this source."""

    def __init__(self, file: soundfile.SoundFile, path: Path) -> None:
        self._file = file
        self._path = path
        self.sample_rate: int = file.samplerate
        self.num_channels: int = file.channels

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends.

        Files of floating-point numbers beyond ±1 are scaled to it. Behind damage within a file, FFmpeg continues.

        Raises:
            UserError: after the last frame, when the file is cut off before the wanted end.
        """
        if first >= self._file.frames:
            return
        wanted = sys.maxsize if count is None else count
        scale, read = self._scale(), 0
        while read < wanted:
            try:
                if not read:
                    self._file.seek(first)
                block = self._file.read(min(_BLOCK_FRAMES, wanted - read), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                with closing(_open_container(self._path)) as rest:
                    yield from rest.blocks(first + read, None if count is None else count - read)
                announce(f"{self._path} is damaged near {(first + read) / self.sample_rate:.2f} s")
                return
            if scale != 1:
                block *= scale
            if not len(block):
                break
            read += len(block)
            yield block
        if read < wanted and (reason := self._what_is_missing(first + read)):
            raise _cut_off(str(self._path), (first + read) / self.sample_rate, reason)

    def _scale(self) -> np.float32:
        """Return by what samples are multiplied to be within ±1."""
        if self._file.subtype not in _FLOATS:
            return np.float32(1)
        self._file.seek(0)
        peaks = (np.abs(block[np.isfinite(block)]).max(initial=0) for block in self._file.blocks(1 << 16))
        return np.float32(1 / max(1.0, *peaks, 0.0))

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


def _ends_within_ogg_page(path: Path) -> bool:
    """Return whether the last page of an OGG file is longer than the file (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(-min(_LONGEST_OGG_PAGE, path.stat().st_size), SEEK_END)
        tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    num_segments = page[26] if len(page) > 26 else len(page)
    return len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments])


def _is_chained_ogg(path: Path) -> bool:
    """Return whether further streams follow the first one in an OGG file: libsndfile reads only that."""
    is_inside = False
    with path.open("rb") as file:
        while (head := file.read(27))[:4] == b"OggS" and len(head) == 27:
            is_beginning = bool(head[5] & 2)
            if is_beginning and is_inside:
                return True
            is_inside = is_inside or not is_beginning
            file.seek(sum(file.read(head[26])), SEEK_CUR)
    return False


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
