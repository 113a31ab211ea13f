"""The video track of a container that FFmpeg opens: upright frames with their presentation times."""

from collections.abc import Generator
from fractions import Fraction
from os import SEEK_END
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.video.stream import VideoStream
from jaxtyping import UInt8

from mnemic_core.errors import UserError
from mnemic_core.media import announce, choose_track, packet_end, read_packets
from mnemic_vision.sequence_info import DEFAULT_FRAME_RATE

Frame: TypeAlias = UInt8[np.ndarray, "height width 3"]

_RAW = frozenset({"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu"})  # without time stamps; 25 Hz is the demuxer's
_HIGHEST_RATE = 1000.0  # guesses from there on are the clock of the container
_MISSING_END = 1.0  # seconds by which a complete file may fall short of its header
_MOST = 0.5  # of the frames, from which on a film is too damaged to be of use
_GIF_END = b";"


class VideoTrack:
    """A video track of a container, which is closed at the end of its frames.

    Args:
        container: the open container.
        label: its name in messages.
        path: of the file; None of a camera.
        track: number of the video track, from 1; None: the default one, or the first that can be decoded and is not an
            attached picture.

    Attributes:
        frame_rate: frames per second, an average where they vary.
        num_frames: number of frames by the header, None if unknown.
        pixel_shape: width of a pixel relative to its height, of the frames as they are shown.

    Raises:
        UserError: there is no such track.
    """

    def __init__(
        self, container: InputContainer, label: str, path: Path | None = None, track: int | None = None
    ) -> None:
        try:
            flags = av.stream.Disposition
            stream: VideoStream = choose_track(
                container.streams.video, label, "video", track, flags.default, excluded=flags.attached_pic
            )
        except UserError:
            container.close()
            raise
        self._container, self._stream, self._label, self._path = container, stream, label, path
        self._is_raw = container.format.name in _RAW
        start = container.start_time
        self._start = None if start is None else start / av.time_base  # None: that of the first frame
        rate = stream.guessed_rate if self._is_raw else stream.average_rate or stream.guessed_rate
        self.frame_rate = float(rate) if rate and 0 < rate < _HIGHEST_RATE else DEFAULT_FRAME_RATE
        self.num_frames = stream.frames or None
        self.pixel_shape = stream.sample_aspect_ratio or Fraction(1)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2

    def frames(self) -> Generator[tuple[Frame, float], None, None]:
        """Yield all frames with their times in seconds from the beginning of the container, and close it.

        Packets that cannot be decoded are skipped. Frames between them and the next key frame build on what is lost.

        Raises:
            UserError: after the last frame, when the end is missing, or when most frames build on what is lost; or
                there is no frame.
        """
        with self._container:
            yield from self._decoded()

    def _decoded(self) -> Generator[tuple[Frame, float], None, None]:
        count = failed = unsure = 0
        is_unsure = False
        end = own_end = 0.0
        reason, time = "", -1 / self.frame_rate
        for packet in read_packets(
            self._container, av.FFmpegError
        ):  # of all tracks, which show together whether the file is complete
            end = max(end, packet_end(packet))
            if packet.stream.index != self._stream.index:
                continue
            own_end = max(own_end, packet_end(packet))
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                failed, reason, is_unsure = failed + 1, str(error.strerror), True
                continue
            is_unsure = is_unsure and not packet.is_keyframe
            if packet.size:  # the last packet is empty and only flushes the decoder
                reason = "its last packet is incomplete" if packet.is_corrupt else ""
            for frame in frames:
                assert isinstance(frame, av.VideoFrame)
                time = self._time(frame, time)
                yield self._upright(frame), time
                count, unsure = count + 1, unsure + is_unsure
        if count == 0:
            raise UserError(f"{self._label} has no frame; give a complete video file")
        if missing := self._what_is_missing(own_end, end, reason):
            raise UserError(
                f"{self._label} is damaged or cut off after {count} frames ({missing}); give a complete copy"
            )
        lost = f"packets that could not be decoded were skipped ({failed})"
        if unsure > _MOST * count:
            raise UserError(
                f"{self._label} is damaged: {lost}, on which {unsure} of {count} frames build; give a complete copy"
            )
        if failed:
            announce(f"{self._label}: {lost}")

    def _time(self, frame: av.VideoFrame, last: float) -> float:
        """Return the time of a frame; without a time stamp it follows the last one."""
        if self._is_raw or frame.time is None:
            return last + 1 / self.frame_rate
        if self._start is None:
            self._start = frame.time
        return max(frame.time - self._start, last)

    def _upright(self, frame: av.VideoFrame) -> Frame:
        """Return the pixels of a frame as its display matrix says: phones store portrait videos lying on the side."""
        pixels = frame.to_ndarray(format="rgb24")
        side_data: Any = frame.side_data  # declared as a mapping, but it iterates over its values
        found = next((each for each in side_data if each.type == SideData.DISPLAYMATRIX), None)
        if found is None:
            return pixels
        # Of a column (x, y): x' = a x + c y and y' = b x + d y (ISO 14496-12, section 8.3.2).
        a, b, _, c, d = np.frombuffer(bytes(found), dtype=np.int32)[:5].tolist()
        if abs(b) > abs(a):
            pixels, a, d = pixels.transpose(1, 0, 2), c, b
            self.pixel_shape = 1 / (self._stream.sample_aspect_ratio or Fraction(1))
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def _what_is_missing(self, own_end: float, end: float, reason: str) -> str:
        """Return why the file is shorter than it should be; empty if it is complete.

        Args:
            own_end: time at which the last packet of the track ends.
            end: the same of all tracks.
            reason: what the last packet says.
        """
        if self._container.format.name == "gif" and self._path is not None:
            return "" if _tail(self._path, 64).rstrip(b"\0").endswith(_GIF_END) else "its end is missing"
        stream = self._stream
        if stream.duration and stream.frames and stream.time_base:  # from a table, no estimate
            announced = float(stream.duration * stream.time_base)
            missing = announced - own_end + float((stream.start_time or 0) * stream.time_base)
            return f"it announces {announced:.2f} s" if missing > max(0.1, 2 / self.frame_rate) else reason
        announced = (self._container.duration or 0) / av.time_base
        if "matroska" in self._container.format.name and announced:
            missing = announced - end + (self._container.start_time or 0) / av.time_base
            return f"it announces {announced:.2f} s" if missing > _MISSING_END else reason
        return reason


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(size, path.stat().st_size), SEEK_END)
        return file.read()
