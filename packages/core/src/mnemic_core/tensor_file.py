"""Reading safetensors files, and writing them completely or not at all."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing


def write_tensors(
    path: str | Path, tensors: Mapping[str, Shaped[Tensor, "..."]], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors that share no storage and metadata as safetensors; replaces a file only when complete.

    Raises:
        OSError: if it cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(Path(path)) as temporary:
            save_file(stored, temporary, metadata)
    except SafetensorError as error:
        raise OSError(f"cannot write {path} ({error}); make room or choose another folder") from error


def read_tensors(
    path: str | Path, device: torch.device | str = "cpu", *, mapped: bool = False
) -> tuple[dict[str, Shaped[Tensor, "..."]], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Args:
        path: the file.
        device: of the tensors.
        mapped: views of the file instead of copies, for what exceeds memory. They lie at any address, on which the last
            bit of a matrix product can depend, and change when the file is overwritten.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is not a complete safetensors file.
    """
    check_file(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = file.keys()
            found = {name: file.get_tensor(name) for name in names}
            return found if mapped else {name: tensor.clone() for name, tensor in found.items()}, file.metadata() or {}
    # A KeyError names a number format that the installed safetensors cannot give to torch.
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is truncated or not a checkpoint ({error}): copy or download it again") from error


def checksum(tensors: Mapping[str, Shaped[Tensor, "..."]], text: str = "") -> str:
    """Return the SHA-256 of names, types, shapes and values of tensors, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_file(path: str | Path) -> None:
    """Raise ``OSError`` for what cannot be opened as a file: parsers give other errors."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    Path(path).open("rb").close()
