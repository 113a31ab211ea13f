from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import ActionStreams, GeneratedActions, read_annotated_streams, write_annotated_streams

TRAIN, VAL = (GeneratedActions(num_streams=2, num_frames=60, seed=seed).open() for seed in (0, 1))


def test_subsets_are_told_apart(tmp_path: Path) -> None:
    write_annotated_streams({"train": TRAIN, "val": VAL}, tmp_path / "set")
    for subset, expected in (("train", TRAIN), ("val", VAL)):
        found = read_annotated_streams(tmp_path / "set", subset)
        for stream, original in zip(found, expected, strict=True):
            assert stream.actions == original.actions
            assert_array_equal(stream.load(), original.load())
    assert len(read_annotated_streams(tmp_path / "set")) == 4


@pytest.mark.parametrize("kind", ["skeleton", "sensor"])
def test_what_a_frame_consists_of_is_kept(kind: str, tmp_path: Path) -> None:
    write_annotated_streams({"train": replace(TRAIN, kind=kind)}, tmp_path / "set")
    assert read_annotated_streams(tmp_path / "set").kind == kind


def test_one_name_for_two_streams_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"different names.* generated_0_000, generated_0_001"):
        write_annotated_streams({"train": TRAIN, "val": TRAIN}, tmp_path / "set")
    outside = ActionStreams([replace(TRAIN.streams[0], name="../x")], TRAIN.classes, 16)
    with pytest.raises(UserError, match=r"got \.\./x"):
        write_annotated_streams({"train": outside}, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no more space")

    broken = ActionStreams([TRAIN.streams[0], replace(TRAIN.streams[1], load=fail)], TRAIN.classes, 16)
    with pytest.raises(OSError, match="no more space"):
        write_annotated_streams({"train": broken}, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
