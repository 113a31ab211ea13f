"""The pictures of sources, in files of their own or in the table of WebQA."""

from functools import cache
from pathlib import Path

from PIL.Image import Image

from mnemic_retrieval.data.webqa import WebQa
from mnemic_retrieval.pictures import picture_hash, read_picture


def read_source_picture(place: str) -> Image:
    """Return a picture in RGB.

    Args:
        place: of a `Source`: a path, or ``imgs.tsv#ID`` for one of WebQA.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is damaged.
    """
    file, identity = _split(place)
    return read_picture(place) if identity is None else read_picture(_table(file).picture(identity))


def picture_file(place: str) -> Path:
    """Return the file in which a picture is, alone or with others."""
    return Path(_split(place)[0])


def source_hash(place: str) -> str | None:
    """Return the SHA-256 of a picture in a file of its own; None for one in a table, or where the file is gone."""
    return picture_hash(place) if _split(place)[1] is None and Path(place).is_file() else None


def _split(place: str) -> tuple[str, str | None]:
    """Return the file of a picture, and its id where the file is a table of them."""
    table, mark, identity = place.rpartition("#")
    return (table, identity) if mark and table.endswith(".tsv") else (place, None)


@cache
def _table(path: str) -> WebQa:
    """Return a reader of pictures alone."""
    return WebQa(Path(), Path(path))
