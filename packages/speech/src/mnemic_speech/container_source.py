"""Audio tracks of containers that FFmpeg opens, at their presentation times."""

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float32

from mnemic_core.errors import UserError
from mnemic_core.media import announce, choose_track, packet_end, read_packets

Block: TypeAlias = Float32[np.ndarray, "frame channel"]

_TOLERANCE = 0.04  # seconds by which time stamps may differ from the samples: they are rounded, and packets get lost
_RESTART = 1.0  # a time stamp that lies back by more belongs to another recording that was joined to this one
_MISSING_END = 1.0  # seconds by which a complete file may fall short of its header
_WITH_DURATION = ("matroska", "mp4", "avi", "asf")  # formats whose header has the true duration
_SILENCE = 4096  # frames of a block of silence


class ContainerSource:
    """An audio track of a container opened by FFmpeg, which is closed with this source.

    Its first frame is at the beginning of the container, not of the track: a track that starts late begins with
    silence, and gaps are silent. Packets that cannot be decoded are skipped.

    Args:
        container: the open container.
        label: its name in messages.
        announced_packets: number of audio packets in the header; 0 if unknown.
        track: number of the audio track, from 1; None: the default one, or the first that can be decoded.
        is_live: whether it is a device, whose time stamps are not those of samples.

    Raises:
        UserError: there is no such track.
    """

    def __init__(
        self,
        container: InputContainer,
        label: str,
        announced_packets: int = 0,
        track: int | None = None,
        *,
        is_live: bool = False,
    ) -> None:
        try:
            self._stream: AudioStream = choose_track(
                container.streams.audio, label, "audio", track, av.stream.Disposition.default
            )
        except UserError:
            container.close()
            raise
        self._container, self._label, self._is_live = container, label, is_live
        self._announced_packets = announced_packets
        self.sample_rate: int = self._stream.codec_context.sample_rate
        self.num_channels: int = self._stream.codec_context.channels

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield ``count`` frames (None for all) from frame ``first`` on, fewer where the audio ends.

        Frames before ``first`` are decoded too: in many formats seeking is not exact.

        Raises:
            UserError: after the last frame, when the end of the audio is missing before the wanted end.
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
        total = end = 0.0
        for packet in self._container.demux(self._stream):
            total += float((packet.duration or 0) * (packet.time_base or 0))
            end = max(end, packet_end(packet) - self._start())
        return round(max(total, end) * self.sample_rate)

    def close(self) -> None:
        """Release the file or the device."""
        self._container.close()

    def _decoded(self) -> Generator[Block, None, None]:
        start = None if self._container.start_time is None else self._start()
        timeline = _Timeline(self.sample_rate, start, self._announced_seconds())
        packets = failed = 0
        end, reason, is_cut = 0.0, "", False
        for packet in read_packets(
            self._container, av.FFmpegError
        ):  # of all tracks, which show together whether the file is complete
            end = max(end, packet_end(packet))
            if packet.stream.index != self._stream.index:
                continue
            is_padding = packet.size and not any(bytes(packet))
            packets += bool(packet.size) and not is_padding
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                failed += not is_padding
                reason = reason if is_padding else str(error.strerror)
                continue
            if packet.size:  # the last packet is empty and only flushes the decoder
                # A WAV from a pipe ends within a packet.
                is_cut = packet.is_corrupt and self._container.format.name != "wav"
                reason = "its last packet is incomplete" if is_cut else ""
            for frame in frames:
                assert isinstance(frame, av.AudioFrame)
                yield from timeline.place(self._to_block(frame), None if self._is_live else frame.time)
        if failed:
            announce(f"{self._label}: packets that could not be decoded were skipped ({failed})")
        if self._is_complete(packets, end) and (not is_cut or self._announced_packets):
            return
        if reason := reason or self._what_is_missing(packets):
            seconds = timeline.position / self.sample_rate
            raise UserError(
                f"{self._label} is damaged or cut off after {seconds:.2f} s ({reason}); give a complete copy"
            )

    def _start(self) -> float:
        """Return the time at which the container begins."""
        return (self._container.start_time or 0) / av.time_base

    def _announced_seconds(self) -> float:
        """Return the duration in the header, 0 where it is unknown or only an estimate."""
        is_known = any(name in self._container.format.name for name in _WITH_DURATION)
        return (self._container.duration or 0) / av.time_base if is_known else 0.0

    def _is_complete(self, packets: int, end: float) -> bool:
        """Return whether the header announces no more than was read."""
        if self._announced_packets:
            # Encoders differ in whether the table itself counts as a packet.
            return packets + 1 >= self._announced_packets
        announced = self._announced_seconds()
        return announced > 0 and end - self._start() + _MISSING_END >= announced

    def _what_is_missing(self, packets: int) -> str:
        """Return why an incomplete file is shorter than announced; empty if it announces nothing."""
        if self._announced_packets:
            return f"it announces {self._announced_packets} packets and has {packets}"
        announced = self._announced_seconds()
        return f"it announces {announced:.2f} s" if announced else ""

    def _to_block(self, frame: av.AudioFrame) -> Block:
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


class _Timeline:
    """Puts blocks at their presentation times: gaps become silence, what overlaps is cut.

    Args:
        sample_rate: of the blocks.
        start: time stamp of the first frame, in seconds; None: that of the first block.
        announced: duration of the recording in seconds, 0 if unknown.

    Attributes:
        position: number of frames so far.
    """

    def __init__(self, sample_rate: int, start: float | None, announced: float) -> None:
        self._rate, self._start, self._announced = sample_rate, start, announced
        self.position = 0

    def place(self, block: Block, time: float | None) -> Iterator[Block]:
        """Yield a block, with silence before it where its time is later than the end of the last one."""
        start = self._start = time if self._start is None else self._start
        gap = 0 if time is None or start is None else round((time - start) * self._rate) - self.position
        if start is not None and self._is_restart(gap):
            self._start = start + gap / self._rate
        elif gap > _TOLERANCE * self._rate:
            for first in range(0, gap, _SILENCE):
                yield self._count(np.zeros((min(_SILENCE, gap - first), block.shape[1]), np.float32))
        elif gap < -_TOLERANCE * self._rate:
            block = block[-gap:]
        yield self._count(block)

    def _is_restart(self, gap: int) -> bool:
        end = (self.position + gap) / self._rate
        is_beyond = self._announced > 0 and end > self._announced + _MISSING_END
        return gap < -_RESTART * self._rate or is_beyond

    def _count(self, block: Block) -> Block:
        self.position += len(block)
        return block
