"""Frames from videos, image folders and cameras, and annotated frames back into an mp4.

A frame is a uint8 RGB array (height, width, 3). Frames are read and written one at a time, in constant memory.
"""

import errno
import os
import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TypeAlias
from uuid import uuid4

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image, ImageOps

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.still_image import image_bytes, open_image
from mnemic_vision.sequence_info import DEFAULT_FRAME_RATE, read_sequence_info

Frame: TypeAlias = UInt8[np.ndarray, "height width 3"]

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_BT709 = 1  # code of the HD color standard in H.264 headers


class FrameSource(Iterator[Frame], AbstractContextManager["FrameSource"]):
    """The frames of a source from `open_frames`, which can be read once.

    The first frame is read at once, so that an unreadable source raises here.

    Attributes:
        name: of the source in file names and messages.
        size: (width, height) of the first frame in pixels; images of a folder may differ in size.
        frame_rate: frames per second.
        num_frames: number of frames by the header, None if unknown.
    """

    def __init__(
        self, frames: Generator[Frame, None, None], *, name: str, frame_rate: float, num_frames: int | None
    ) -> None:
        first = next(frames)
        self.name = name
        self.size = (first.shape[1], first.shape[0])
        self.frame_rate = frame_rate
        self.num_frames = num_frames
        self._decoder = frames
        self._frames = chain([first], frames)

    def __next__(self) -> Frame:
        return next(self._frames)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or the camera; there are no further frames."""
        self._decoder.close()
        self._frames = chain()


def open_frames(source: str | Path | int) -> FrameSource:
    """Open a video file, a folder of images, a MOT sequence or a camera.

    Args:
        source: a video file; a folder of jpg or png images, read in natural order (2 before 10); a folder in the layout
            of MOTChallenge; or the number of a camera (``0`` or ``"0"``, Linux).

    Raises:
        FileNotFoundError: there is no such file, folder or camera.
        UserError: the source cannot be read as video or images, or has no frame. While iterating: a damaged image, or
            the end of a truncated video.
    """
    path = Path(str(source))
    if isinstance(source, int) or (path.name == str(source) and path.name.isdigit() and not path.exists()):
        return _open_camera(int(path.name))
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a video file, an image folder or a camera number")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); give a complete video file")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video ({error.strerror}); is the file complete?") from error
    return _open_container(container, str(path), path.stem)


def _open_camera(index: int) -> FrameSource:
    device = f"/dev/video{index}"
    try:
        container = av.open(device, format="v4l2")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"camera {index} ({device}) does not exist; is it connected?") from error
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"camera {index} ({device}) cannot be opened ({error})") from error
    return _open_container(container, f"camera {index}", f"camera{index}")


def _open_container(container: InputContainer, label: str, name: str) -> FrameSource:
    if not container.streams.video:
        container.close()
        raise UserError(f"{label} has no video stream; give a complete video file")
    stream = container.streams.video[0]
    rate = stream.average_rate or stream.guessed_rate
    return FrameSource(
        _decode(container, label),
        name=name,
        frame_rate=float(rate) if rate else DEFAULT_FRAME_RATE,
        num_frames=stream.frames or None,
    )


def _decode(container: InputContainer, label: str) -> Generator[Frame, None, None]:
    """Yield all frames, and close the container at the end or when the generator is closed."""
    with container:
        yield from _decode_packets(container, label)


def _decode_packets(container: InputContainer, label: str) -> Generator[Frame, None, None]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = 2
    count, cut_off, reason = 0, False, "the last packet is incomplete"
    try:
        for packet in container.demux(stream):
            if packet.size:  # the last packet is empty and only flushes the decoder
                cut_off = packet.is_corrupt
            for frame in packet.decode():
                # Rotated as its metadata say, since phones store portrait videos lying on the side.
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
                count += 1
    except av.FFmpegError as error:
        cut_off, reason = True, str(error.strerror)
    if cut_off:
        raise UserError(f"{label} is damaged or cut off after {count} frames ({reason}); give a complete copy")
    if count == 0:
        raise UserError(f"{label} has no frame; give a complete video file")


def _open_folder(folder: Path) -> FrameSource:
    paths = list_images(folder / "img1" if (folder / "img1").is_dir() else folder)
    return FrameSource(
        (read_image(path) for path in paths),
        name=folder.resolve().name,
        frame_rate=read_sequence_info(folder / "seqinfo.ini").frame_rate,
        num_frames=len(paths),
    )


def is_image(path: Path) -> bool:
    """Whether a file is a jpg or png image, by its name."""
    return path.suffix.lower() in _IMAGE_SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, so that frame2 comes before frame10.

    Raises:
        UserError: there is none.
    """
    paths = sorted(filter(is_image, folder.iterdir()), key=_natural_order)
    if not paths:
        raise UserError(f"{folder} contains no jpg or png image; give a folder with at least one")
    return paths


def _natural_order(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def read_image(path: str | Path) -> Frame:
    """Read an image file as RGB, rotated by its EXIF orientation; more than 8 bits are scaled as in decision 20.

    Errors are those of `open_image`.
    """
    with open_image(path) as image:
        return image_bytes(image)


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes frames to an H.264 mp4 that browsers can play.

    The file gets its name when the block ends; if the block raises, an existing video is unchanged.

    Args:
        path: the file to write; it must end in .mp4 and its folder must exist.
        size: (width, height) in pixels. H.264 needs even numbers, so the last row or column of an odd side is repeated.
            A frame of another size is scaled to fit and centered on black.
        frame_rate: frames per second.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "black.mp4"
        >>> with VideoWriter(path, size=(64, 48), frame_rate=10.0) as writer:
        ...     writer.write(np.zeros((48, 64, 3), dtype=np.uint8))
        >>> with open_frames(path) as frames:
        ...     frames.size, frames.num_frames
        ((64, 48), 1)
    """

    def __init__(self, path: str | Path, size: tuple[int, int], frame_rate: float) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() != ".mp4":
            raise UserError(f"a video is written as .mp4, got {path}; name it {self._path.with_suffix('.mp4').name}")
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: the folder {self._path.parent} does not exist")
        if min(size) < 1 or not 0 < frame_rate < float("inf"):
            raise UserError(f"a video needs a size and a frame rate above 0, got {size} and {frame_rate}")
        self._size = size
        self._num_frames = 0
        self._temporary = self._path.with_name(f".{self._path.name}.{uuid4().hex[:8]}.tmp")
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(frame_rate).limit_denominator(1001))
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
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
            self._temporary.unlink(missing_ok=True)

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            OSError: if the disk is full; the message names the video.
        """
        picture = av.VideoFrame.from_ndarray(_to_size(frame, self._size), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
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
