"""Files of results: one for each input and format."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from mnemic_kit.atomic_files import atomic_write, writing_together

Format = TypeVar("Format", bound=str)


def write_formats(folder: Path, name: str, formats: Sequence[Format], render: Callable[[Format], str]) -> list[Path]:
    """Write a result in several formats, all files complete or none, and return the files.

    Args:
        folder: of the files, which must exist.
        name: of the files, without their ending.
        formats: endings.
        render: gives the content of a file.
    """
    paths = [folder / f"{name}.{kind}" for kind in formats]
    with writing_together():
        for path, kind in zip(paths, formats, strict=True):
            with atomic_write(path) as file:
                file.write(render(kind))
    return paths


def show_files(paths: Iterable[Path], console: Console) -> None:
    """Print the paths of files written."""
    for path in paths:
        console.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)


def unique_names(files: Sequence[Path]) -> list[str]:
    """Return a unique name for the results of each file, without its suffix where possible.

    Example:
        >>> unique_names([Path("a.wav"), Path("b.wav"), Path("b.mp3"), Path("old/b.mp3")])
        ['a', 'b', 'b.mp3', 'b.mp3-2']
    """
    names: list[str] = []
    for file in files:
        numbered = (f"{file.name}-{number}" for number in range(2, len(files) + 2))
        names.append(next(name for name in (file.stem, file.name, *numbered) if name not in names))
    return names
