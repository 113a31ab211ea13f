import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import GeneratedActions, read_annotated_streams

SHARED = Path(__file__).parents[6] / "shared/data"
NAMES = [f"generated_0_00{number}" for number in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GeneratedActions(num_streams=3, num_frames=100, num_classes=2, num_channels=4).write(tmp_path / "set")
    return tmp_path / "set"


def change_entry(folder: Path, change: Callable[[dict[str, Any]], object], name: str = NAMES[0]) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    change(content["database"][name])
    (folder / "annotations.json").write_text(json.dumps(content))


def add_action(start: float, end: float, label: str = "class_0") -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry["annotations"].append({"label": label, "segment": [start, end]})


def replace_frames(folder: Path, frames: np.ndarray, name: str = NAMES[0]) -> None:
    np.savez(folder / "streams" / f"{name}.npz", features=frames)


# What a user may get wrong, and what the one line about it says.
MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "beyond the end": (lambda f: change_entry(f, add_action(19.0, 20.5)), r"20 s long, .* from 19 to 20.5 s"),
    "before the start": (lambda f: change_entry(f, add_action(-1.0, 2.0)), r"from -1 to 2 s"),
    "end before start": (lambda f: change_entry(f, add_action(5.0, 4.0)), r"ends at 4 s, before its start at 5 s"),
    "no segment": (
        lambda f: change_entry(f, lambda e: e["annotations"].append({"label": "class_0"})),
        r"\[start, end\]",
    ),
    "NaN time": (lambda f: change_entry(f, add_action(float("nan"), 2.0)), r"\[start, end\] in seconds, got \[nan"),
    "unknown label": (
        lambda f: change_entry(f, add_action(1.0, 2.0, "jump")),
        r"unknown label 'jump'.*class_0, class_1",
    ),
    "no duration": (lambda f: change_entry(f, lambda e: e.pop("duration")), r"duration above 0 seconds, got None"),
    "wrong duration": (
        lambda f: change_entry(f, lambda e: e.update(duration=30)),
        r"100 frames at 5 per second, .* 30 s",
    ),
    "wrong num_steps": (lambda f: change_entry(f, lambda e: e.update(num_steps=90)), r"num_steps 90, but .* 100 rows"),
    "other width": (
        lambda f: replace_frames(f, np.zeros((100, 5)), NAMES[1]),
        r"5 channels, but generated_0_000 has 4",
    ),
    "no frames": (lambda f: replace_frames(f, np.zeros((0, 4))), r"generated_0_000 is empty"),
    "objects": (
        lambda f: replace_frames(f, np.array([[{}]], dtype=object)),
        r"Python objects, which are never unpickled",
    ),
    "one axis": (lambda f: replace_frames(f, np.zeros(100)), r"shape \(100,\): expected \(frames, channels\)"),
    "text": (lambda f: replace_frames(f, np.array([["a", "b"]])), r"save the features as float32"),
    "missing file": (
        lambda f: (f / "streams" / f"{NAMES[1]}.npz").unlink(),
        r"1 of 3 streams \(generated_0_001\)",
    ),
    "two files": (lambda f: np.save(f / f"{NAMES[0]}.npy", np.zeros((100, 4))), r"has 2 files \(.*\.npy, .*\.npz\)"),
    "damaged": (lambda f: (f / "streams" / f"{NAMES[0]}.npz").write_bytes(b"PK\3\4" + bytes(50)), r"cannot be read"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_the_stream(folder: Path, name: str) -> None:
    make, message = MISTAKES[name]
    make(folder)
    with pytest.raises(UserError, match=message) as caught:
        read_annotated_streams(folder)
    assert "\n" not in str(caught.value)
    assert "generated_0_00" in str(caught.value)


@pytest.mark.parametrize("name", MISTAKES)
def test_the_other_streams_remain_usable(folder: Path, name: str) -> None:
    MISTAKES[name][0](folder)
    problems: list[UserError] = []
    streams = read_annotated_streams(folder, on_problem=problems.append)
    assert len(problems) == 1
    assert len(streams) == 2
    assert all(len(stream.load()) == 100 for stream in streams)


def test_bad_rows_name_stream_and_row(folder: Path) -> None:
    frames = np.zeros((100, 4))
    frames[[7, 30], 2] = np.nan, np.inf
    replace_frames(folder, frames, NAMES[2])
    broken = read_annotated_streams(folder).streams[2]
    with pytest.raises(UserError, match=r"generated_0_002 .* in 2 of 100 rows, first in row 7"):
        broken.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not complete JSON"),
        ("[]", 'expected {"database"'),
        ('{"database": {"a": 1}}', 'expected {"database"'),
        ('{"database": {"a": {"duration": 1}, "a": {"duration": 2}}}', "has 'a' twice"),
        ('{"classes": ["x", "x"], "database": {}}', "classes must be a list of different names"),
        ("[" * 100_000, "is not a JSON file"),
    ],
)
def test_malformed_annotations_are_one_line(folder: Path, text: str, message: str) -> None:
    (folder / "annotations.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_annotated_streams(folder)
    assert "\n" not in str(caught.value)


def test_unknown_subsets_and_folders_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no video of subset 'val': its subsets are train"):
        read_annotated_streams(folder, "val")
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_annotated_streams(folder / "nowhere")


def test_an_action_without_duration_is_left_out(folder: Path) -> None:
    before = read_annotated_streams(folder).streams[0].actions
    change_entry(folder, add_action(3.0, 3.0))
    assert read_annotated_streams(folder).streams[0].actions == before


def test_an_action_that_ends_a_frame_late_is_cut(folder: Path) -> None:
    change_entry(folder, add_action(19.0, 20.15))
    assert max(action.end for action in read_annotated_streams(folder).streams[0].actions) == pytest.approx(20)


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5", "group.h5"])
def test_every_format_gives_the_same_frames(folder: Path, suffix: str) -> None:
    old = folder / "streams" / f"{NAMES[0]}.npz"
    frames = np.load(old)["features"]
    old.unlink()
    write_as(folder / "other" / f"{NAMES[0]}.{suffix}", frames)
    assert_array_equal(read_annotated_streams(folder).streams[0].load(), frames)


def test_hdf5_files_without_their_library_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (folder / "streams" / f"{NAMES[0]}.npz").rename(folder / f"{NAMES[0]}.h5")
    with pytest.raises(UserError, match=r"need h5py: pip install 'mnemic-vision\[hdf5\]'"):
        read_annotated_streams(folder)


def write_as(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir()
    if path.suffix == ".npy":
        np.save(path, frames[:, :, None])
    elif path.suffix == ".npz":
        np.savez_compressed(path, flow=frames[:, 2:], rgb=frames[:, :2])
    else:
        h5py = pytest.importorskip("h5py")
        file_name = path.name if path.name.count(".") == 1 else "all.h5"
        with h5py.File(path.parent / file_name, "w") as file:
            file["frames" if file_name != "all.h5" else path.name.split(".")[0]] = frames


def test_a_cut_off_file_is_noticed_when_it_is_opened(folder: Path) -> None:
    (folder / "streams" / f"{NAMES[0]}.npz").unlink()
    np.save(folder / f"{NAMES[0]}.npy", np.zeros((100, 4), np.float32))
    whole = (folder / f"{NAMES[0]}.npy").read_bytes()
    (folder / f"{NAMES[0]}.npy").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="is cut off, 10 bytes are missing"):
        read_annotated_streams(folder)


REAL = {"actions_utkinect": (12, 4, 60, 10, "skeleton", 7.5), "actions_watch": (36, 12, 6, 7, "sensor", 10.0)}


@pytest.mark.parametrize("name", REAL)
def test_the_real_sets_are_read(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("needs the shared data sets")
    train, val = (read_annotated_streams(SHARED / name, subset) for subset in ("train", "val"))
    found = (len(train), len(val), train.num_channels, len(train.classes), train.kind)
    assert (*found, pytest.approx(1 / val.streams[0].frame_time)) == REAL[name]
    assert all(stream.load().shape == (stream.num_frames, train.num_channels) for stream in val)
    assert all(action.end <= stream.duration for stream in train for action in stream.actions)
