"""Safetensors files that are there whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; the file is renamed when the block ends, and removed if it fails."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file of tensors, no two of which share storage, and of texts about them.

    A file of that name is replaced only once all is written.

    Raises:
        OSError: if it cannot be written, for want of space or of a folder.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(Path(path)) as temporary:
            save_file(stored, temporary, metadata)
    except SafetensorError as error:
        raise OSError(f"cannot write {path} ({error}); make room or choose another folder") from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the texts that a safetensors file holds beside its tensors.

    Raises:
        SafetensorError: if it is no complete safetensors file.
    """
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    return metadata
