"""One file with everything that tracking needs: weights, network settings, input size and thresholds."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mnemic_core.loading import read_checkpoint, read_tensors
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.inference import Thresholds, Tracker
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.weights import load_exactly

FORMAT_VERSION = 1
KIND = "memotr"


@dataclass(frozen=True)
class TrackerSettings:
    """How a trained network is to be run.

    Args:
        short_side: shorter side of the network's input, pixels.
        long_side: largest longer side.
        thresholds: when tracks are born, missed, written and forgotten.
        classes: name of each class.
    """

    short_side: int = 800
    long_side: int = 1536
    thresholds: Thresholds = field(default_factory=Thresholds)
    classes: tuple[str, ...] = ("object",)


def save_model(
    path: str | Path, model: Memotr, settings: TrackerSettings, provenance: dict[str, Any], half: bool = False
) -> None:
    """Write weights and settings as safetensors, under a temporary name until complete.

    Args:
        path: file to write, ``.safetensors``.
        model: the network.
        settings: how to run it.
        provenance: what made it: command, data, seed, step, validation figures, versions.
        half: store weights in float16; they are computed with in float32 all the same.
    """
    path = Path(path)
    header = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "config": asdict(model.config),
        "settings": asdict(settings),
        "provenance": provenance,
    }
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if half:
        weights = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    temporary = path.with_name(f".{path.name}.part")
    try:
        save_file(weights, temporary, metadata={"mnemic": json.dumps(header)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_model(path: str | Path) -> tuple[Memotr, TrackerSettings, dict[str, Any]]:
    """Return network, settings and provenance of a file of `save_model` or of a Lightning checkpoint of training.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, of another kind of model, or of a newer format.
    """
    path = Path(path)
    header, weights = _read(path)
    if header.get("kind") != KIND:
        raise ValueError(
            f"{path} is not a MeMOTR checkpoint (kind {header.get('kind')!r}): give one that fit or save_model wrote"
        )
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {header['format_version']}, newer than {FORMAT_VERSION}: update mnemic-vision"
        )
    config = MemotrConfig(**_known(MemotrConfig, header["config"], path))
    given = dict(header["settings"])
    thresholds = Thresholds(**_known(Thresholds, given.pop("thresholds", {}), path))
    given["classes"] = tuple(given.get("classes", ("object",)))
    settings = TrackerSettings(thresholds=thresholds, **_known(TrackerSettings, given, path))
    model = Memotr(config)
    _load(model, weights, path)
    return model.eval(), settings, header["provenance"]


def load_weights(model: Memotr, path: str | Path) -> None:
    """Load a checkpoint of ours into a network of the same sizes; its memory may be another one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of other sizes or of another model.
    """
    _load(model, _read(Path(path))[1], Path(path))


def load_tracker(path: str | Path, device: torch.device | str = "cpu", use_bf16: bool = False) -> Tracker:
    """Return a tracker that runs a checkpoint with the settings stored in it."""
    model, settings, _ = load_model(path)
    return Tracker(model.to(device), settings.thresholds, settings.short_side, settings.long_side, use_bf16)


def _known(kind: type, values: dict[str, Any], path: Path) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    unknown = sorted(values.keys() - names)
    if unknown:
        raise ValueError(
            f"{path} has settings that this version does not know ({', '.join(unknown)}): update mnemic-vision"
        )
    return values


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the file says about itself and its weights, of a safetensors file or a Lightning checkpoint."""
    if path.suffix == ".safetensors":
        weights = read_tensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata.get("mnemic", "{}")), weights
    content = read_checkpoint(path)
    return content.get("mnemic", {}), content.get("state_dict", {})


def _load(model: Memotr, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights, stored in any precision, into the network."""
    plain = {key.removeprefix("model."): value for key, value in weights.items()}
    load_exactly(
        model, {key: value.float() if value.is_floating_point() else value for key, value in plain.items()}, path
    )
