"""Checkpoint files: a trained model with settings and provenance."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly, read_checkpoint
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.tensor_file import read_tensors, write_tensors

KEY = "mnemic"
"""Key of the header in the metadata of a safetensors file and in a Lightning checkpoint."""

FORMAT_VERSION = 2

Model = TypeVar("Model", bound=PretrainedModel)
Settings = TypeVar("Settings")
Bundle = TypeVar("Bundle", bound="Checkpoint[Any, Any]")


@dataclass(frozen=True)
class Checkpoint(Generic[Model, Settings]):
    """A trained model with settings and provenance; each system has a subclass for its model and settings.

    The file is safetensors with a JSON header: kind, format version, model configuration, settings, provenance, and
    additions of the subclass. :meth:`load` also reads Lightning checkpoints with :meth:`header` under :data:`KEY`, as
    training writes them.

    Attributes:
        model: the network.
        settings: dataclass of inference settings.
        provenance: command, data, seed, step, validation scores and versions, as plain values.
    """

    kind: ClassVar[str]

    model: Model
    settings: Settings
    provenance: Mapping[str, Any]

    def __init_subclass__(cls, kind: str) -> None:
        """Set the kind of file, unique for each subclass."""
        super().__init_subclass__()
        cls.kind = kind

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write a ``.safetensors`` file; replaces a file of that name only when complete.

        Args:
            path: file to write.
            half: store parameters in float16; computation stays in float32.

        Raises:
            OSError: if it cannot be written.
        """
        modules = nn.ModuleDict(self.modules())
        weights = modules.state_dict()
        if half:  # not buffers: the variance of a channel may exceed the range of float16
            weights |= {name: parameter.half() for name, parameter in modules.named_parameters()}
        write_tensors(path, weights, {KEY: json.dumps(self.header())})

    @classmethod
    def load(cls: type[Bundle], path: str | Path) -> Bundle:
        """Read a file of :meth:`save` or a Lightning checkpoint, for inference on the CPU.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is damaged, of another kind or version, or its parts do not fit together.
        """
        header, weights = read_model(path)
        cls.check_header(header, path)
        checkpoint = cls.from_header(header, path)
        modules = nn.ModuleDict(checkpoint.modules())
        if Path(path).suffix != ".safetensors":  # training has modules of its own, such as losses
            weights = {name: value for name, value in weights.items() if name.partition(".")[0] in modules}
        load_exactly(modules.eval(), weights, path)
        return checkpoint

    @classmethod
    def check_header(cls, header: Mapping[str, Any], source: str | Path) -> None:
        """Raise ``UserError`` for a header of another kind or format."""
        if header.get("kind") != cls.kind:
            raise UserError(
                f"{source} is a checkpoint of kind {header.get('kind')!r}, expected {cls.kind!r}: give one that fit "
                f"or {cls.__name__}.save wrote"
            )
        check_version(header.get("format_version"), FORMAT_VERSION, source, cls.__module__)

    def header(self) -> dict[str, Any]:
        """Return everything except weights as plain JSON values."""
        header = {
            "kind": self.kind,
            "format_version": FORMAT_VERSION,
            "config": asdict(self.model.config),
            "settings": asdict(cast(Any, self.settings)),
            "provenance": dict(self.provenance),
            **self.describe_parts(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(header))  # tuples become lists, as in a file
        return plain

    @classmethod
    def from_header(cls: type[Bundle], header: Mapping[str, Any], source: str | Path) -> Bundle:
        """Return a checkpoint with untrained weights; a damaged or newer header is a ``UserError``."""
        model, settings = get_args(vars(cls)["__orig_bases__"][0])
        return cls(
            model.from_config(deserialize(model.config_class, header.get("config"), source, "config")),
            deserialize(settings, header.get("settings"), source, "settings"),
            deserialize(dict[str, Any], header.get("provenance"), source, "provenance"),
            **cls.restore_parts(header, source),
        )

    def modules(self) -> dict[str, nn.Module]:
        """Return the modules by the first part of their weights' names."""
        return {"model": self.model}

    def describe_parts(self) -> dict[str, Any]:
        """Return header entries for the fields of a subclass, as plain values."""
        return {}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return the fields of a subclass by name; the inverse of :meth:`describe_parts`."""
        return {}

    def to(self: Bundle, device: torch.device | str) -> Bundle:
        """Move the modules to a device and return the checkpoint itself."""
        for module in self.modules().values():
            module.to(device)
        return self


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Shaped[Tensor, "..."]]]:
    """Return header, empty if there is none, and weights of a ``.safetensors`` file or Lightning checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is damaged, no checkpoint, or holds more than tensors and plain data.
    """
    if Path(path).suffix == ".safetensors":
        weights, metadata = read_tensors(path)
        return read_header(metadata, path), weights
    return split_checkpoint(read_checkpoint(path), path)


def split_checkpoint(
    content: Mapping[str, Any], source: str | Path
) -> tuple[dict[str, Any], dict[str, Shaped[Tensor, "..."]]]:
    """Return header and weights of the content of a Lightning checkpoint; empty where absent."""
    header = deserialize(dict[str, Any], content.get(KEY, {}), source, KEY)
    return header, deserialize(dict[str, Tensor], content.get("state_dict", {}), source, "state_dict")


def read_header(metadata: Mapping[str, str], source: str | Path) -> dict[str, Any]:
    """Return the header in the metadata of a safetensors file; empty if it has none."""
    try:
        header = json.loads(metadata.get(KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} has a damaged header ({error}): copy or download it again") from error
    found: dict[str, Any] = deserialize(dict[str, Any], header, source, "header")
    return found


def check_version(found: object, expected: int, source: str | Path, module: str) -> None:
    """Raise ``UserError`` for another format version; a newer one recommends updating the package of ``module``."""
    if found == expected:
        return
    if isinstance(found, int) and found > expected:
        package = module.partition(".")[0].replace("_", "-")
        raise UserError(f"{source} has format {found}, newer than {expected}: update {package}")
    raise UserError(f"{source} has format {found!r}, which is no longer read (format {expected} is): write it again")
