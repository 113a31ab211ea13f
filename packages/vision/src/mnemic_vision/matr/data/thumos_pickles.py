"""The official feature pickles of THUMOS14 to one array file for each video, without running code from them."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing

_MODALITIES = ("rgb", "flow")
_NUMPY_MODULES = {
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
}
_NUMPY_NAMES = {"ndarray", "dtype", "_reconstruct", "_frombuffer", "scalar"}


class _ArraysOnly(pickle.Unpickler):
    """Builds dictionaries, lists, numbers, text and numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a pickle names, if it is one of numpy's for arrays."""
        if module in _NUMPY_MODULES and name in _NUMPY_NAMES:
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 of Python 3 writes bytes
            return _encode
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes as {encoding}")
    return text.encode("latin1")


def convert_thumos14(source: str | Path, folder: str | Path) -> list[str]:
    """Write the features of a pickle as ``rgb/VIDEO.npy`` and ``flow/VIDEO.npy``.

    Files appear whole, and those that exist are kept: a stopped conversion continues. The pickle is read at once, about
    2 GB for a split of THUMOS14.

    Args:
        source: such as ``thumos_all_feature_val_V3.pickle``, of ``{video: {"rgb": (T, C), "flow": (T, C)}}``.
        folder: is made if it does not exist.

    Returns:
        the names of the videos.

    Raises:
        FileNotFoundError: there is no such pickle.
        UserError: it is damaged, holds anything but arrays, or has another form.
    """
    source, folder = Path(source), Path(folder)
    content = _read_pickle(source)
    for video, parts in content.items():
        for modality in parts.keys() & set(_MODALITIES):
            target = folder / modality / f"{video}.npy"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as temporary, temporary.open("wb") as file:
                    np.save(file, parts[modality], allow_pickle=False)
    return list(content)


def _read_pickle(source: Path) -> Mapping[str, Mapping[str, Shaped[np.ndarray, "..."]]]:
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    try:
        with source.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()  # the arrays of Python 2 need this encoding
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{source} is not a pickle of arrays alone ({reason:.100}): refused") from error
    # Damaged bytes lead the reader to errors of any class: index, type, attribute, overflow, memory.
    except Exception as error:
        raise UserError(f"{source} is cut off or not a pickle: copy or download it again") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"{source} holds a {type(content).__name__}, expected features by the names of videos")
    for video, parts in content.items():
        _check_video(source, video, parts)
    return content


def _check_video(source: Path, video: Any, parts: Any) -> None:
    if not isinstance(video, str) or video != Path(video).name or video in {"", ".", ".."}:
        raise UserError(f"{source} has features of {video!r:.60}, which cannot be the name of a file")
    if not isinstance(parts, dict) or not any(modality in parts for modality in _MODALITIES):
        raise UserError(f"{source}, {video}: expected arrays named rgb and flow")
    for modality in parts.keys() & set(_MODALITIES):
        array = parts[modality]
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            shape = f"shape {array.shape} of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise UserError(f"{source}, {video}, {modality}: expected floats of shape (frames, channels), got {shape}")
