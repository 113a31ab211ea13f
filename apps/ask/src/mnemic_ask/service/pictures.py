"""Pictures by the SHA-256 of their bytes."""

import base64
import binascii
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from mnemic_ask.service.settings import MAX_PICTURE_BYTES
from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_retrieval.pictures import FORMATS, picture_hash


@dataclass(frozen=True)
class Picture:
    """The bytes of a picture and their media type."""

    content: bytes
    media_type: str


class PictureFolder:
    """The pictures that clients have sent, each under its hash.

    Args:
        folder: created when the first one comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()  # kept in the memory, which other programs open from elsewhere

    def keep(self, content: bytes) -> Path:
        """Return the path of a picture, which is written unless it is there."""
        path = self._folder / picture_hash(content)
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "wb") as file:
                file.write(content)
        return path

    def path(self, digest: str) -> Path:
        """Return where the picture of a hash is if it was kept."""
        return self._folder / digest


def read_known(path: Path, digest: str) -> Picture | None:
    """Return a picture if a file still is the one that a hash was made of, and is a picture."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # a name that the file system does not know
        return None
    return _picture(content) if picture_hash(content) == digest else None


def decode(text: str) -> bytes:
    """Return the bytes of base64.

    Raises:
        UserError: it is something else.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is not in base64 ({error})") from error


def _picture(content: bytes) -> Picture | None:
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            media_type = picture.get_format_mimetype()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return None if media_type is None else Picture(content, media_type)
