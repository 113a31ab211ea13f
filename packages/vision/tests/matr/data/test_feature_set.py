import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data import FeatureSet, muses, open_tad, thumos14


def write_annotations(path: Path, **videos: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"database": videos}))


def video(subset: str, duration: float, *actions: tuple[str, float, float], **numbers: float) -> dict[str, Any]:
    annotations = [{"label": label, "segment": [start, end], "labelIndex": 0} for label, start, end in actions]
    return {"subset": subset, "duration": duration, **numbers, "annotations": annotations}


def write_features(path: Path, num_frames: int, width: int = 2, value: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.arange(num_frames * width, dtype=np.float32).reshape(num_frames, width) * value)


@pytest.fixture
def thumos(tmp_path: Path) -> Path:
    """Two videos; an annotation lies beyond the end of one, as in the real file."""
    b = video("test", 20.0, ("Jump", 1.0, 4.0), ("Dive", 25.0, 27.0), duration_frame=600)
    write_annotations(tmp_path / "thumos14_v2.json", a=video("train", 10.0, ("Swim", 2.0, 3.0)), b=b)
    for modality, value in (("rgb", 1.0), ("flow", -1.0)):
        write_features(tmp_path / modality / "a.npy", 50, value=value)
        write_features(tmp_path / modality / "b.npy", 100, value=value)
    return tmp_path


def test_thumos14_shares_the_duration_among_frames(thumos: Path) -> None:
    streams = thumos14(thumos).open("test")
    assert streams.classes == ("Dive", "Jump", "Swim")  # of all subsets, as labels of the official code
    (stream,) = streams
    assert (stream.frame_time, stream.offset, streams.num_channels) == (0.2, 0.0, 4)
    assert [action.label for action in stream.actions] == ["Jump", "Dive"]  # the official evaluation counts both
    assert_array_equal(stream.load()[:, 2:], -stream.load()[:, :2])


def test_thumos14_without_flow_needs_no_flow(thumos: Path) -> None:
    for path in (thumos / "flow").iterdir():
        path.unlink()
    assert thumos14(thumos, ["rgb"]).open("train").num_channels == 2
    with pytest.raises(UserError, match=r"flow has no features of 1 of 1 streams \(a\)"):
        thumos14(thumos).open("train")


@pytest.mark.parametrize(("rows", "is_usable"), [(49, True), (48, False)])
def test_flow_may_lack_one_frame(thumos: Path, rows: int, is_usable: bool) -> None:
    write_features(thumos / "flow" / "a.npy", rows)
    problems: list[UserError] = []
    streams = thumos14(thumos).open("train", on_problem=problems.append)
    assert [len(stream.load()) for stream in streams] == [49] * is_usable
    assert [str(problem).count("parts of different lengths") for problem in problems] == [1] * (not is_usable)


@pytest.fixture
def tad(tmp_path: Path) -> Path:
    """Videos of 30 frames per second with features of stride 4 of clips of 16 frames."""
    one = video("training", 20.0, ("Jump", 1.0, 4.0), ("Ambiguous", 5.0, 6.0), frame=600)
    write_annotations(tmp_path / "annotations" / "thumos_14_anno.json", a=one, b=one, c=one | {"subset": "validation"})
    (tmp_path / "annotations" / "category_idx.txt").write_text("Jump\nDive\n")
    for name in "abc":
        write_features(tmp_path / "features" / "i3d" / f"{name}.npy", 147)
    (tmp_path / "features" / "i3d" / "missing_files.txt").write_text("b\n")
    return tmp_path


def test_open_tad_places_features_in_the_middle_of_their_clips(tad: Path) -> None:
    streams = open_tad(tad, "i3d", feature_stride=4, offset_frames=8).open("training")
    (stream,) = streams
    assert (stream.name, streams.classes) == ("a", ("Jump", "Dive"))
    assert stream.actions == (Action("Jump", 1.0, 4.0),)
    assert stream.frame_time == pytest.approx(4 / 30)
    assert stream.offset == stream.lookahead == pytest.approx(8 / 30)


def test_open_tad_samples_rows(tad: Path) -> None:
    (stream,) = open_tad(tad, "i3d", feature_stride=4, sample_stride=2, lookahead_frames=3).open("val")
    assert stream.num_frames == len(stream.load()) == 74
    assert stream.load()[1].tolist() == [4.0, 5.0]
    assert (stream.frame_time, stream.lookahead) == (pytest.approx(8 / 30), pytest.approx(0.1))


def test_a_wrong_stride_is_refused(tad: Path) -> None:
    with pytest.raises(UserError, match=r"a is 20 s long, but 147 features at this stride last 78.4 s"):
        open_tad(tad, "i3d", feature_stride=16).open("training")


def test_a_stride_needs_the_frame_rate(tad: Path) -> None:
    write_annotations(tad / "annotations" / "thumos_14_anno.json", a=video("training", 20.0, ("Jump", 1.0, 4.0)))
    with pytest.raises(UserError, match="video a needs fps or frame"):
        open_tad(tad, "i3d", feature_stride=4).open("training")


def test_one_annotation_file_is_needed(tad: Path) -> None:
    (tad / "annotations" / "other_anno.json").write_text("{}")
    with pytest.raises(UserError, match=r"one file \*_anno.json, found other_anno.json, thumos_14_anno.json"):
        open_tad(tad, "i3d", feature_stride=4)


def test_muses_and_names_with_a_prefix(tmp_path: Path) -> None:
    write_annotations(tmp_path / "muses.json", v1=video("train", 8.0, ("talk", 1.0, 4.0), fps=25))
    write_features(tmp_path / "muses_i3d_features" / "v1.npy", 25)
    (stream,) = muses(tmp_path).open("train")
    assert stream.frame_time == 0.32
    write_features(tmp_path / "other" / "v_v1.npy", 50)
    other = FeatureSet(tmp_path / "muses.json", (tmp_path / "other",), file_name="v_{name}")
    assert next(iter(other.open())).frame_time == 0.16


@pytest.mark.parametrize(
    "settings", [{"sample_stride": 0}, {"offset_frames": 8}, {"file_name": "video"}, {"features": ()}]
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        FeatureSet(**{"annotations": Path("a.json"), "features": (Path("f"),), **settings})


def test_missing_folders_and_lists_are_named(thumos: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of features"):
        FeatureSet(thumos / "thumos14_v2.json", (thumos / "i3d",)).open()
    with pytest.raises(FileNotFoundError, match=r"no file .*classes.txt"):
        FeatureSet(thumos / "thumos14_v2.json", (thumos / "rgb",), classes=thumos / "classes.txt").open()
