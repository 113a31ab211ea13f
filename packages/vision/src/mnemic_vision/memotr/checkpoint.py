"""One file with everything that tracking needs: weights, network settings, input size and thresholds."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnemic_core.model_file import ModelFormat, read_model, write_model
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.inference import Thresholds, Tracker
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.weights import load_exactly

FORMAT = ModelFormat("memotr", 1, title="MeMOTR", makers="fit or save_model", package="mnemic-vision")


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
    """Write weights and settings as safetensors; a file of that name is replaced only once all is written.

    Args:
        path: file to write, ``.safetensors``.
        model: the network.
        settings: how to run it.
        provenance: what made it: command, data, seed, step, validation figures, versions.
        half: store weights in float16; they are computed with in float32 all the same.
    """
    header = FORMAT.header(config=asdict(model.config), settings=asdict(settings), provenance=provenance)
    weights = model.state_dict()
    if half:
        weights = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    write_model(path, weights, header)


def load_model(path: str | Path) -> tuple[Memotr, TrackerSettings, dict[str, Any]]:
    """Return network, settings and provenance of a file of `save_model` or of a Lightning checkpoint of training.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, of another kind of model, or of a newer format.
    """
    header, weights = FORMAT.read(path)
    model = Memotr(FORMAT.restore(MemotrConfig, header["config"], path))
    given = dict(header["settings"])
    given["thresholds"] = FORMAT.restore(Thresholds, given.get("thresholds", {}), path)
    given["classes"] = tuple(given.get("classes", ("object",)))
    settings = FORMAT.restore(TrackerSettings, given, path)
    _load(model, weights, path)
    return model.eval(), settings, header["provenance"]


def load_weights(model: Memotr, path: str | Path) -> None:
    """Load a checkpoint of ours into a network of the same sizes; its memory may be another one.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is of other sizes or of another model.
    """
    _load(model, read_model(path)[1], path)


def load_tracker(path: str | Path, device: torch.device | str = "cpu", use_bf16: bool = False) -> Tracker:
    """Return a tracker that runs a checkpoint with the settings stored in it."""
    model, settings, _ = load_model(path)
    return Tracker(model.to(device), settings.thresholds, settings.short_side, settings.long_side, use_bf16)


def _load(model: Memotr, weights: dict[str, Tensor], path: str | Path) -> None:
    load_exactly(model, {key.removeprefix("model."): value for key, value in weights.items()}, path)
