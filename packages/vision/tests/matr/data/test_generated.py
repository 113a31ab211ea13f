from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import GeneratedActions, read_annotated_streams


def test_the_same_numbers_give_the_same_frames() -> None:
    first, again, other = (GeneratedActions(num_streams=1, seed=seed).open().streams[0] for seed in (1, 1, 2))
    assert_array_equal(first.load(), again.load())
    assert first.actions == again.actions
    assert first.actions != other.actions


def test_many_starts_lie_outside_of_the_window() -> None:
    made = GeneratedActions(num_streams=8, window=16)
    lengths = [(each.end - each.start) / 0.2 for stream in made.open() for each in stream.actions]
    assert min(lengths) > 3.999
    assert max(lengths) < 64.001
    assert np.mean(np.array(lengths) > 16) == pytest.approx(0.5, abs=0.1)  # log-uniform from 4 to 64


def test_classes_look_alike_in_sets_of_different_seeds() -> None:
    onsets = []
    for seed in (0, 1):
        streams = GeneratedActions(num_streams=8, seed=seed, noise=0.0).open()
        found = {each.label: stream.load()[round(each.start / 0.2)] for stream in streams for each in stream.actions}
        onsets.append(np.stack([found[label] for label in streams.classes]))
    assert_array_equal(*onsets)
    assert_allclose(onsets[0] @ onsets[0].T, np.eye(4), atol=1e-6)


def test_a_hidden_class_shows_at_the_start_alone() -> None:
    streams = GeneratedActions(num_streams=4, noise=0.0, hide_class=True).open()
    bodies = [
        stream.load()[round(each.start / 0.2) + 3 : round(each.end / 0.2)][-4:]
        for stream in streams
        for each in stream.actions
        if each.end - each.start > 2
    ]
    assert len(bodies) > 20
    assert all(np.array_equal(body, bodies[0]) for body in bodies)


def test_written_streams_are_read_back(tmp_path: Path) -> None:
    made = GeneratedActions(num_streams=2, num_frames=200, seed=3)
    made.write(tmp_path / "set", "val")
    back = read_annotated_streams(tmp_path / "set", "val")
    for stream, copy in zip(made.open(), back, strict=True):
        assert_array_equal(stream.load(), copy.load())
        assert (copy.name, copy.duration, copy.num_frames) == (stream.name, pytest.approx(40.0), 200)
        assert copy.actions == stream.actions
    assert back.classes == made.classes


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="exists: remove it"):
        GeneratedActions(num_streams=1).write(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(UserError, match=r"num_channels must be at least twice num_classes \(9\), got 16"):
        GeneratedActions(num_classes=9)
