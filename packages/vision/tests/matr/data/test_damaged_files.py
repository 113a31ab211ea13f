import json
import pickle
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import WRONG_VALUES, check_refusals

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import GeneratedActions, convert_thumos14, read_annotated_streams
from mnemic_vision.matr.data.array_files import open_frames

FRAMES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def write_frames(path: Path) -> None:
    if path.suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file.create_dataset("frames", data=FRAMES, chunks=(5, 3), compression="gzip")
    elif path.suffix == ".npz":
        np.savez_compressed(path, joints=FRAMES.reshape(20, 1, 3), gap=np.zeros(20, bool))
    else:
        np.save(path, FRAMES)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_damaged_arrays_are_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    good = tmp_path / f"frames{suffix}"
    write_frames(good)
    (tmp_path / "copies").mkdir()
    check_refusals(lambda path: open_frames(path).read("s"), good, tmp_path / "copies", count=150)


def test_damaged_pickles_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "f.pickle").write_bytes(pickle.dumps({"v": {"rgb": FRAMES, "flow": FRAMES}}))
    (tmp_path / "copies").mkdir()
    check_refusals(lambda path: convert_thumos14(path, tmp_path / "out"), tmp_path / "f.pickle", tmp_path / "copies")


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in nested lists and dictionaries."""
    yield at
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield from places(value, (*at, key))


@pytest.mark.parametrize("seed", range(3))
def test_wrong_values_in_annotations_are_refused_or_read(seed: int, tmp_path: Path) -> None:
    GeneratedActions(num_streams=2, num_frames=60).write(tmp_path / "set")
    text = (tmp_path / "set" / "annotations.json").read_text()
    dice = random.Random(seed)
    for place in list(places(json.loads(text)))[1:]:
        content = target = json.loads(text)
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = dice.choice([*WRONG_VALUES, 10**400, "../x", {"../x": {"duration": 1.0}}])
        (tmp_path / "set" / "annotations.json").write_text(json.dumps(content))
        with suppress(UserError):  # what is harmless, such as another fps without num_steps, is read
            read_annotated_streams(tmp_path / "set")
