"""Running sessions in files: what inference has left so far, continued later with identical results."""

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

    A file holds the state with a fingerprint of the weights and the settings. It is refused where either differs,
    since the state would mean nothing there.

    Attributes:
        session_kind: what messages and files call it.
    """

    session_kind: ClassVar[str]

    @abstractmethod
    def session_model(self) -> PretrainedModel:
        """Return the model whose weights and configuration the state belongs to."""

    @abstractmethod
    def session_settings(self) -> Mapping[str, Any]:
        """Return the other settings that must be the same to continue, as plain values."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state: nested mappings and sequences of tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; its sequences may have become lists and its tensors are on the CPU."""

    @abstractmethod
    def report(self) -> MemoryReport:
        """Return how the memory is used at this point."""

    def save(self, path: str | Path) -> None:
        """Write the session as safetensors; a file of that name is replaced only once all is written.

        Raises:
            OSError: if it cannot be written, for want of space or of a folder.
        """
        tensors: dict[str, Tensor] = {}
        content = {
            "kind": self.session_kind,
            "format_version": FORMAT_VERSION,
            "package": f"mnemic-core {version('mnemic-core')}",
            **self._identity(),
            "state": _pack(self.state_dict(), "state", tensors),
        }
        header = json.dumps(content)
        sums = {"checksum": checksum(tensors, header)}
        write_tensors(path, tensors, {KEY: header, **sums})

    def load(self, path: str | Path) -> None:
        """Continue a session that :meth:`save` wrote; if it is refused, this one stays as it was.

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
        """Return what must be the same to continue, as a file gives it."""
        model = self.session_model()
        own = {"config": asdict(model.config), "settings": dict(self.session_settings()), "weights": fingerprint(model)}
        plain: dict[str, Any] = json.loads(json.dumps(own))
        return plain


def fingerprint(model: nn.Module) -> str:
    """Return a checksum of all weights; computed once for a model until a weight changes."""
    weights = model.state_dict()
    # Changes in place count up; tensors of inference mode, which have no count, cannot be changed outside of it.
    marks = tuple((each.data_ptr(), each.device, each.is_inference() or each._version) for each in weights.values())
    known = _FINGERPRINTS.get(model)
    if known is None or known[0] != marks:
        known = marks, checksum(weights)
        _FINGERPRINTS[model] = known
    return known[1]


def _pack(value: Any, name: str, tensors: dict[str, Shaped[Tensor, "..."]]) -> Any:
    """Return a value of JSON in which each tensor is replaced by its name in ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().clone()
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
    """Return the first place in which two plain values differ, and how; empty if they are equal."""
    if found == expected:
        return ""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            if difference := _difference(found.get(key), expected.get(key), f"{name}.{key}"):
                return difference
    return f"{name} {found!r:.40}, here {expected!r:.40}"
