"""Writing frames as a video."""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image, ImageOps

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import remove, temporary_path
from mnemic_vision.video_track import Frame

_BT709 = 1  # code of the HD color standard in H.264 headers
_CLOCK = 90_000  # time stamps per second


_SQUARE = Fraction(1)


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes frames to an H.264 mp4 that browsers can play.

    The file gets its name when the block ends; if the block raises, an existing video is unchanged.

    Args:
        path: the file to write; it must end in .mp4 and its folder must exist.
        size: (width, height) in pixels. H.264 needs even numbers, so the last row or column of an odd side is repeated.
            A frame of another size is scaled to fit and centered on black.
        frame_rate: frames per second, for frames without a time.
        pixel_shape: width of a pixel relative to its height.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.video import open_frames
        >>> path = Path(tempfile.mkdtemp()) / "black.mp4"
        >>> with VideoWriter(path, size=(64, 48), frame_rate=10.0) as writer:
        ...     writer.write(np.zeros((48, 64, 3), dtype=np.uint8))
        >>> with open_frames(path) as frames:
        ...     frames.size, frames.num_frames
        ((64, 48), 1)
    """

    def __init__(
        self, path: str | Path, size: tuple[int, int], frame_rate: float, pixel_shape: Fraction = _SQUARE
    ) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() != ".mp4":
            raise UserError(f"a video is written as .mp4, got {path}; name it {self._path.with_suffix('.mp4').name}")
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: the folder {self._path.parent} does not exist")
        if min(size) < 1 or not 0 < frame_rate < float("inf"):
            raise UserError(f"a video needs a size and a frame rate above 0, got {size} and {frame_rate}")
        self._size = size
        self._num_frames, self._frame_ticks, self._last_tick = 0, max(1, round(_CLOCK / frame_rate)), -1
        self._temporary = temporary_path(self._path)
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(frame_rate).limit_denominator(1001))
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _CLOCK)
        self._stream.codec_context.sample_aspect_ratio = pixel_shape
        self._stream.options = {"preset": "veryfast", "crf": "20"}
        self._stream.codec_context.thread_count = 2
        # Without these tags players guess the colors differently.
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = ColorRange.MPEG

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(OSError):  # a full disk was reported already
                self._container.close()
            remove(self._temporary)

    def write(self, frame: Frame, time: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: the frame.
            time: in seconds from the beginning of the video; None: the next one at the frame rate.

        Raises:
            OSError: if the disk is full; the message names the video.
        """
        picture = av.VideoFrame.from_ndarray(_to_size(frame, self._size), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        tick = self._num_frames * self._frame_ticks if time is None else round(time * _CLOCK)
        # Players need times that grow.
        self._last_tick = picture.pts = max(tick, self._last_tick + 1)
        picture.time_base = Fraction(1, _CLOCK)
        with self._name_disk_errors():
            self._container.mux(self._stream.encode(picture))
        self._num_frames += 1

    def _finish(self) -> None:
        if self._num_frames == 0:
            raise UserError(f"no frame was written to {self._path}; a video needs at least one")
        with self._name_disk_errors():
            self._container.mux(self._stream.encode(None))  # flushes the encoder
            self._container.close()
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
        self._temporary.replace(self._path)

    @contextmanager
    def _name_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = str(error.strerror)
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                reason = "disk full; free some space, an earlier video is unchanged"
            raise OSError(error.errno, reason, str(self._path)) from error


def _to_size(frame: Frame, size: tuple[int, int]) -> UInt8[np.ndarray, "even_height even_width 3"]:
    """Resize a frame to (width, height), and make both sides even."""
    width, height = size
    if frame.shape[:2] != (height, width):
        frame = np.asarray(ImageOps.pad(Image.fromarray(frame), size))
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
