"""Safetensors files, read in one way and written whole or not at all."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mnemic_core.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; the file is renamed when the block ends, and removed if it fails."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Shaped[Tensor, "..."]], metadata: dict[str, str] | None = None
) -> None:
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


def read_tensors(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Shaped[Tensor, "..."]], dict[str, str]]:
    """Return the tensors of a safetensors file, whatever its name ends with, and the texts stored with them.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is not a complete safetensors file.
    """
    check_file(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    # A KeyError names a number format that the installed safetensors cannot give to torch.
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is truncated or not a checkpoint ({error}): copy or download it again") from error


def checksum(tensors: Mapping[str, Shaped[Tensor, "..."]], text: str = "") -> str:
    """Return a number in hexadecimal that tells these tensors, by names, types, shapes and values, from others.

    Args:
        tensors: on any device.
        text: what else counts.
    """
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_file(path: str | Path) -> None:
    """Refuse what cannot be opened as a file, before a parser meets it.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it may not be read, or is a folder.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    Path(path).open("rb").close()
