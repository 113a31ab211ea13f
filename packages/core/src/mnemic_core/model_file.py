"""Files of trained networks: weights, and a header of plain values that says how to build the network and to run it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.loading import read_checkpoint, read_tensors
from mnemic_core.tensor_file import read_metadata, write_tensors

KEY = "mnemic"
"""Where the header is: in the metadata of a safetensors file, and in a Lightning checkpoint beside ``state_dict``."""

Config = TypeVar("Config")


@dataclass(frozen=True)
class ModelFormat:
    """One kind of model file: what its headers say, and what is said to those who give another one.

    Args:
        kind: name of the kind in headers.
        version: of the headers that are written, and the newest that can be read.
        title: what people call the network.
        makers: what writes such files, as commands or functions.
        package: what to update when a file is newer than this code.
    """

    kind: str
    version: int
    title: str
    makers: str
    package: str

    def header(self, **facts: Any) -> dict[str, Any]:
        """Return the header of a new file: kind, version and the given facts, of types that json knows."""
        return {"kind": self.kind, "format_version": self.version, **facts}

    def read(self, path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return header and weights of a file of this kind, as :func:`read_model` does.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is truncated, of another kind or of a newer version.
        """
        header, weights = read_model(path)
        if header.get("kind") != self.kind:
            raise UserError(
                f"{path} is not a {self.title} checkpoint (kind {header.get('kind')!r}): "
                f"give one that {self.makers} wrote"
            )
        if header["format_version"] > self.version:
            raise UserError(
                f"{path} has format {header['format_version']}, newer than {self.version}: update {self.package}"
            )
        return header, weights

    def restore(self, config: type[Config], values: Mapping[str, Any], source: str | Path) -> Config:
        """Return the dataclass ``config`` with values of a header; ``source`` is what a message calls the file.

        Raises:
            UserError: if there are values that it has no field for, as files of newer versions have.
        """
        unknown = sorted(values.keys() - {item.name for item in fields(config)})  # type: ignore[arg-type]  # a dataclass
        if unknown:
            raise UserError(
                f"{source} has settings that this version does not know ({', '.join(unknown)}): update {self.package}"
            )
        return config(**values)


def write_model(path: str | Path, weights: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a ``.safetensors`` file of a network; a file of that name is replaced only once all is written.

    Raises:
        OSError: if it cannot be written, for want of space or of a folder.
    """
    write_tensors(path, weights, {KEY: json.dumps(header)})


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and weights of a ``.safetensors`` file of :func:`write_model` or of a Lightning checkpoint.

    A file without header has an empty one. Weights of any floating-point precision come back in float32.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, no checkpoint, or holds more than tensors and plain data.
    """
    if Path(path).suffix == ".safetensors":
        weights, header = read_tensors(path), read_header(path)
    else:
        content = read_checkpoint(path)
        weights, header = content.get("state_dict", {}), content.get(KEY, {})
    return header, {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a safetensors file, empty if it has none.

    Raises:
        SafetensorError: if it is no complete safetensors file.
    """
    header: dict[str, Any] = json.loads(read_metadata(path).get(KEY, "{}"))
    return header
