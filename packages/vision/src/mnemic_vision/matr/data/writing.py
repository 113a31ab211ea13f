"""Writing streams as a folder with ``annotations.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_core.temporary_files import replacing
from mnemic_vision.matr.data.stream import ActionStream, ActionStreams


def write_annotated_streams(subsets: Mapping[str, ActionStreams], folder: str | Path) -> None:
    """Write streams as a folder that `read_annotated_streams` reads; it appears when it is complete.

    Args:
        subsets: the streams by the name of their subset, all with the same classes.
        folder: is made; must not exist.

    Raises:
        FileNotFoundError: the folder it is to be in does not exist.
        UserError: the folder exists, or two streams have one name.
    """
    folder = Path(folder)
    names = [stream.name for streams in subsets.values() for stream in streams]
    if twice := sorted({name for name in names if names.count(name) > 1 or name != Path(name).name}):
        raise UserError(f"streams must have different names, which can be those of files, got {name_some(twice)}")
    if folder.exists():
        raise UserError(f"{folder} exists: remove it or choose another folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"cannot write {folder}: the folder {folder.parent} does not exist; create it first")
    with replacing(folder) as temporary:
        (temporary / "streams").mkdir(parents=True)
        database = {}
        for subset, streams in subsets.items():
            for stream in streams:
                arrays: dict[str, Any] = {_ARRAYS[streams.kind]: stream.load()}
                np.savez(temporary / "streams" / f"{stream.name}.npz", **arrays)
                database[stream.name] = _describe(stream, subset)
        classes = list(next(iter(subsets.values())).classes)
        content = json.dumps({"classes": classes, "database": database}, indent=1)
        (temporary / "annotations.json").write_text(content, encoding="utf-8")


_ARRAYS = {"plain": "features", "skeleton": "joints", "sensor": "imu"}


def _describe(stream: ActionStream, subset: str) -> dict[str, Any]:
    return {
        "subset": subset,
        "duration": stream.duration,
        "fps": 1 / stream.frame_time,
        "num_steps": stream.num_frames,
        "annotations": [{"label": each.label, "segment": [each.start, each.end]} for each in stream.actions],
    }
