from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import open_streams

FRAMES = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)


def test_every_file_of_a_folder_is_a_stream(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.savez(tmp_path / "b.npz", imu=FRAMES[:7], gap=np.zeros(7))
    (tmp_path / "notes.txt").write_text("no stream")
    streams = open_streams(tmp_path, 10.0)
    assert [(stream.name, stream.num_frames, stream.duration) for stream in streams] == [("a", 20, 2.0), ("b", 7, 0.7)]
    assert_array_equal(streams.streams[1].load(), FRAMES[:7])


def test_a_file_of_joints_is_a_skeleton(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", joints=FRAMES.reshape(20, 2, 3))
    streams = open_streams(tmp_path / "b.npz", 7.5)
    assert (streams.kind, streams.num_channels, len(streams)) == ("skeleton", 6, 1)


def test_an_hdf5_file_has_one_stream_or_several(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for name, datasets in {"one": ["x"], "parts": ["rgb", "flow"], "many": ["s1", "s2"]}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for dataset in datasets:
                file[dataset] = FRAMES
    found = [[stream.name for stream in open_streams(tmp_path / f"{n}.h5", 5.0)] for n in ("one", "parts", "many")]
    assert found == [["one"], ["parts"], ["s1", "s2"]]


def test_the_others_are_opened_when_one_is_wrong(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.save(tmp_path / "b.npy", FRAMES[:, :4])
    (tmp_path / "c.npz").write_bytes(b"PK")
    problems: list[UserError] = []
    assert len(open_streams(tmp_path, 10.0, on_problem=problems.append)) == 1
    assert "c.npz cannot be read" in str(problems[0])
    assert "b has 4 channels, but a has 6" in str(problems[1])


def test_the_width_of_most_streams_counts(tmp_path: Path) -> None:
    for name, width in {"a": 4, "b": 6, "c": 6}.items():
        np.save(tmp_path / f"{name}.npy", FRAMES[:, :width])
    problems: list[UserError] = []
    opened = open_streams(tmp_path, 10.0, on_problem=problems.append)
    assert ([stream.name for stream in opened], opened.num_channels) == (["b", "c"], 6)
    assert [str(problem).startswith("stream a has 4 channels, but b has 6") for problem in problems] == [True]


def test_nothing_to_open_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no stream: expected files .npy"):
        open_streams(tmp_path, 10.0)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_streams(tmp_path / "nowhere", 10.0)
    with pytest.raises(UserError, match="frame_rate"):
        open_streams(tmp_path, 0.0)


def test_an_hdf5_file_of_nested_groups_is_refused(tmp_path: Path) -> None:
    with pytest.importorskip("h5py").File(tmp_path / "deep.h5", "w") as file:
        file["a/b/c"] = FRAMES
    with pytest.raises(UserError, match=r"deep.h5 holds the arrays none: expected one array"):
        open_streams(tmp_path / "deep.h5", 5.0)
