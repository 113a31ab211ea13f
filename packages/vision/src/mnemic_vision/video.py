"""Frames from videos, image folders and cameras, and annotated frames back into an mp4.

A frame is a uint8 RGB array (height, width, 3). Frames are read and written one at a time, in constant memory.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.still_image import image_bytes, open_image
from mnemic_vision.sequence_info import read_sequence_info
from mnemic_vision.video_track import Frame as Frame
from mnemic_vision.video_track import VideoTrack
from mnemic_vision.video_writer import VideoWriter as VideoWriter

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


class FrameSource(Iterator[Frame], AbstractContextManager["FrameSource"]):
    """The frames of a source from `open_frames`, which can be read once.

    The first frame is read at once, so that an unreadable source raises here.

    Attributes:
        name: of the source in file names and messages.
        size: (width, height) of the first frame in pixels; images of a folder may differ in size.
        frame_rate: frames per second; of videos with varying rate an average.
        num_frames: number of frames by the header, None if unknown.
        pixel_shape: width of a pixel relative to its height.
        time: of the last frame that was taken, in seconds from the beginning of the file.
    """

    def __init__(
        self,
        frames: Generator[tuple[Frame, float], None, None],
        *,
        name: str,
        frame_rate: float,
        num_frames: int | None,
    ) -> None:
        first = next(frames)
        self.name = name
        self.size = (first[0].shape[1], first[0].shape[0])
        self.frame_rate = frame_rate
        self.num_frames = num_frames
        self.pixel_shape = Fraction(1)
        self.time = first[1]
        self._decoder = frames
        self._frames = chain([first], frames)

    def __next__(self) -> Frame:
        frame, self.time = next(self._frames)
        return frame

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or the camera; there are no further frames."""
        self._decoder.close()
        self._frames = chain()


def open_frames(source: str | Path | int, track: int | None = None) -> FrameSource:
    """Open a video file, a folder of images, a MOT sequence or a camera.

    Args:
        source: a video file; a folder of images, read in natural order (2 before 10); a folder in the layout
            of MOTChallenge; or the number of a camera (``0`` or ``"0"``, Linux).
        track: number of the video track of a file, from 1; None: see `VideoTrack`.

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
        container = av.open(f"file:{path}")  # so that a colon in the name is no protocol
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video ({error.strerror}); is the file complete?") from error
    return _open_container(container, str(path), path.stem, path, track)


def _open_camera(index: int) -> FrameSource:
    device = f"/dev/video{index}"
    try:
        container = av.open(device, format="v4l2")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"camera {index} ({device}) does not exist; is it connected?") from error
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"camera {index} ({device}) cannot be opened ({error})") from error
    return _open_container(container, f"camera {index}", f"camera{index}")


def _open_container(
    container: InputContainer, label: str, name: str, path: Path | None = None, track: int | None = None
) -> FrameSource:
    film = VideoTrack(container, label, path, track)
    source = FrameSource(film.frames(), name=name, frame_rate=film.frame_rate, num_frames=film.num_frames)
    source.pixel_shape = film.pixel_shape  # turned with the first frame
    return source


def _open_folder(folder: Path) -> FrameSource:
    paths = list_images(folder / "img1" if (folder / "img1").is_dir() else folder)
    rate = read_sequence_info(folder / "seqinfo.ini").frame_rate
    frames = ((read_image(path), index / rate) for index, path in enumerate(paths))
    return FrameSource(frames, name=folder.resolve().name, frame_rate=rate, num_frames=len(paths))


def is_image(path: Path) -> bool:
    """Whether a file is an image (jpg, png, bmp, tif or webp), by its name."""
    return path.suffix.lower() in _IMAGE_SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, so that frame2 comes before frame10.

    Raises:
        UserError: there is none.
    """
    paths = sorted(filter(is_image, folder.iterdir()), key=_natural_order)
    if not paths:
        raise UserError(f"{folder} contains no image (jpg, png, bmp, tif, webp); give a folder with at least one")
    return paths


def _natural_order(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def read_image(path: str | Path) -> Frame:
    """Read an image file as RGB, rotated by its EXIF orientation; more than 8 bits are scaled as in decision 20.

    Errors are those of `open_image`.
    """
    with open_image(path) as image:
        return image_bytes(image)
