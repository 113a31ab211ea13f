"""Saving the state of running inference to continue it later with identical results."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from jaxtyping import Shaped
from torch import Tensor, nn

from mnemic_core.checkpoint import KEY, check_version, read_header
from mnemic_core.errors import UserError
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.report import MemoryReport
from mnemic_core.tensor_file import checksum, read_tensors, write_tensors

FORMAT_VERSION = 1

_FINGERPRINTS: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()


class Session(ABC):
    """Base of inference over a stream that can be saved at any point and continued in another process.

    A file holds the state with a fingerprint of the weights and the settings, both of which must be the same to
    continue.

    Attributes:
        session_kind: its name in messages and files.
    """

    session_kind: ClassVar[str]

    @abstractmethod
    def session_model(self) -> PretrainedModel:
        """Return the model of the session."""

    @abstractmethod
    def session_settings(self) -> Mapping[str, Any]:
        """Return further settings that must be the same to continue, as plain values."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state as nested mappings and sequences of tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state whose sequences may have become lists and whose tensors are on the CPU."""

    @abstractmethod
    def report(self) -> MemoryReport:
        """Return the memory report at this point."""

    def save(self, path: str | Path) -> None:
        """Write the session as safetensors; replaces a file of that name only when complete."""
        tensors: dict[str, Tensor] = {}
        content = {
            "kind": self.session_kind,
            "format_version": FORMAT_VERSION,
            "package": f"mnemic-core {version('mnemic-core')}",
            **self._identity(),
            "state": _pack(self.state_dict(), "state", tensors),
        }
        header = json.dumps(content)
        write_tensors(path, tensors, {KEY: header, "checksum": checksum(tensors, header)})

    def load(self, path: str | Path) -> None:
        """Continue a session that :meth:`save` wrote; on an error this one is unchanged.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is damaged, or of another kind, format, model or settings.
        """
        tensors, metadata = read_tensors(path)
        header = read_header(metadata, path)
        if header.get("kind") != self.session_kind:
            raise UserError(
                f"{path} is of kind {header.get('kind')!r}, expected a {self.session_kind}: begin a new one without it"
            )
        check_version(header.get("format_version"), FORMAT_VERSION, path, __name__)
        if metadata.get("checksum") != checksum(tensors, metadata[KEY]):
            raise UserError(f"{path} was changed or damaged since it was saved: begin a new session without it")
        for name, own in self._identity().items():
            if difference := _difference(header[name], own, name):
                raise UserError(
                    f"{path} is a {self.session_kind} of another model or other settings ({difference}): "
                    "continue with those that it was saved with"
                )
        self.load_state_dict(_unpack(header["state"], tensors))

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same to continue, as in a file."""
        model = self.session_model()
        own = {"config": asdict(model.config), "settings": dict(self.session_settings()), "weights": fingerprint(model)}
        plain: dict[str, Any] = json.loads(json.dumps(own))
        return plain


def fingerprint(model: nn.Module, weights: Mapping[str, Shaped[Tensor, "..."]] | None = None, text: str = "") -> str:
    """Return a checksum of weights, cached until one changes.

    Args:
        model: whose weights they are.
        weights: those that matter, by name; None: all.
        text: what else tells models apart.
    """
    weights = model.state_dict() if weights is None else weights
    # In-place changes increment the version; tensors of inference mode have none but cannot change outside of it.
    versions = ((each.data_ptr(), each.device, each.is_inference() or each._version) for each in weights.values())
    marks, known = (text, *versions), _FINGERPRINTS.get(model)
    if known is None or known[0] != marks:
        known = marks, checksum(weights, text)
        _FINGERPRINTS[model] = known
    return known[1]


def _pack(value: Any, name: str, tensors: dict[str, Shaped[Tensor, "..."]]) -> Any:
    """Replace each tensor by its name and collect it in ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().clone()  # safetensors refuses tensors that share storage
        return {"$tensor": name}
    if isinstance(value, Mapping):
        return {key: _pack(each, f"{name}.{key}", tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(each, f"{name}.{index}", tensors) for index, each in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, Shaped[Tensor, "..."]]) -> Any:
    if isinstance(value, list):
        return [_unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tensor"}:
        return tensors[value["$tensor"]]
    return {key: _unpack(each, tensors) for key, each in value.items()}


def _difference(found: Any, expected: Any, name: str) -> str:
    """Return the first difference of two plain values; empty if they are equal."""
    if found == expected:
        return ""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            if difference := _difference(found.get(key), expected.get(key), f"{name}.{key}"):
                return difference
    return f"{name} {found!r:.40}, here {expected!r:.40}"
