import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnemic_vision.memotr.data import read_bdd100k, read_crowd_human, read_dance_track, read_mot_challenge


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (24, 16)) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def write_sequence(folder: Path, *, has_truth: bool = True) -> None:
    write_images(folder / "img1", ["00000001.jpg", "00000002.jpg"])
    if has_truth:
        (folder / "gt").mkdir()
        (folder / "gt" / "gt.txt").write_text("1,1,0,0,9,9,1,1,1\n2,1,1,0,9,9,1,1,1\n")


def test_dance_track_needs_ground_truth_except_for_test(tmp_path: Path) -> None:
    write_sequence(tmp_path / "train" / "dancetrack0001")
    write_sequence(tmp_path / "test" / "dancetrack0003", has_truth=False)
    assert read_dance_track(tmp_path, "train")[0].target_rows(1).boxes.tolist() == [[1, 0, 9, 9]]
    assert not read_dance_track(tmp_path, "test")[0].has_ground_truth
    write_sequence(tmp_path / "train" / "dancetrack0002", has_truth=False)
    with pytest.raises(FileNotFoundError, match=r"dancetrack0002.*does not exist; this needs ground truth"):
        read_dance_track(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"val does not exist; .* contains test, train"):
        read_dance_track(tmp_path, "val")


def test_of_three_detector_copies_one_is_read(tmp_path: Path) -> None:
    names = ["MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-02-SDP", "MOT17-04-FRCNN", "MOT17-04-DPM", "MOT20-01"]
    for name in names:
        write_sequence(tmp_path / "images" / "train" / name)
    sequences = read_mot_challenge(tmp_path, "train", part="second_half")
    assert [sequence.name for sequence in sequences] == ["MOT17-02-SDP", "MOT17-04-FRCNN", "MOT20-01"]
    with pytest.raises(FileNotFoundError, match="contains images"):
        read_mot_challenge(tmp_path, "test")


def person(box: list[float], **more: object) -> dict[str, object]:
    return {"tag": "person", "fbox": box, **more}


def write_odgt(root: Path, *lines: object) -> None:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (root / "annotation_val.odgt").write_text(text + "\n")


def test_crowd_human_is_a_sequence_of_stills_with_different_identities(tmp_path: Path) -> None:
    write_images(tmp_path / "images" / "val", ["a.jpg", "b.jpg"])
    people = [person([-3, 2, 9, 30]), person([1, 1, 5, 5], extra={"ignore": 1}), {"tag": "mask", "fbox": [0, 0, 9, 9]}]
    write_odgt(tmp_path, {"ID": "b", "gtboxes": people}, {"ID": "a", "gtboxes": [person([0, 0, 4, 4])]})
    stills = read_crowd_human(tmp_path)
    assert (stills.num_frames, stills.are_stills) == (2, True)
    assert stills.target_rows(0).boxes.tolist() == [[-3, 2, 9, 30]]
    assert [stills.target_rows(frame).ids.tolist() for frame in (0, 1)] == [[1], [2]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: expected ID and gtboxes"),
        ({"ID": "a"}, "line 2: expected ID and gtboxes"),
        ({"ID": "a", "gtboxes": [{"tag": "person"}]}, "line 2: expected ID and gtboxes"),
        ({"ID": "a", "gtboxes": [person([1, 2, 3])]}, "line 2: fbox must be"),
        ({"ID": "a", "gtboxes": [person([1, 2, 3, float("nan")])]}, "line 2: fbox must be"),
    ],
)
def test_a_malformed_line_of_crowd_human_is_named(tmp_path: Path, line: object, message: str) -> None:
    write_images(tmp_path / "images", ["a.jpg"])
    write_odgt(tmp_path, {"ID": "a", "gtboxes": []}, line)
    with pytest.raises(ValueError, match=message):
        read_crowd_human(tmp_path)


def test_missing_files_of_crowd_human_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annotation_val\.odgt does not exist"):
        read_crowd_human(tmp_path)
    write_odgt(tmp_path, {"ID": "a", "gtboxes": []})
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 images .* such as a\.jpg"):
        read_crowd_human(tmp_path)
    (tmp_path / "annotation_val.odgt").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_crowd_human(tmp_path)


NAMES = ["v-0000001.jpg", "v-0000002.jpg", "v-0000003.jpg"]


def write_bdd100k(root: Path, content: object) -> None:
    write_images(root / "images" / "track" / "train" / "v", NAMES)
    labels = root / "labels" / "box_track_20" / "train"
    labels.mkdir(parents=True)
    (labels / "v.json").write_text(content if isinstance(content, str) else json.dumps(content))


def item(identity: str, category: str, **attributes: bool) -> dict[str, object]:
    box = {"x1": 1, "y1": 2, "x2": 4, "y2": 8}
    return {"id": identity, "category": category, "attributes": attributes, "box2d": box}


def test_bdd100k_keeps_eight_classes_without_crowds_and_knows_unlabeled_frames(tmp_path: Path) -> None:
    first = [item("x", "rider"), item("y", "car"), item("z", "car", crowd=True), item("w", "trailer")]
    write_bdd100k(tmp_path, [{"name": NAMES[2], "labels": [item("y", "car")]}, {"name": NAMES[0], "labels": first}])
    (video,) = read_bdd100k(tmp_path, "train")
    rows = video.target_rows(0)
    assert (rows.labels.tolist(), rows.boxes[0].tolist()) == ([1, 2], [1, 2, 3, 6])
    assert video.target_rows(2).ids[0] == rows.ids[1]
    assert video.annotations is not None
    np.testing.assert_array_equal(video.annotations.labeled, [True, False, True])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", r"v\.json is malformed \(.*line 1"),
        ([{"name": "w-0000001.jpg"}], "'w-0000001.jpg' is not an image of the video"),
        (
            [{"name": NAMES[0], "labels": [{"id": "x", "category": "car"}]}],
            "'box2d' is not an image .* or a missing key",
        ),
        (
            [{"name": NAMES[0], "labels": [item("x", "car") | {"box2d": dict.fromkeys(("x1", "x2", "y1", "y2"), 1)}]}],
            "x1 < x2",
        ),
        ([1], "is malformed"),
    ],
)
def test_malformed_labels_of_bdd100k_are_named(tmp_path: Path, content: object, message: str) -> None:
    write_bdd100k(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        read_bdd100k(tmp_path, "train")


def test_missing_folders_of_bdd100k_are_named(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [])
    write_images(tmp_path / "images" / "track" / "test" / "u", NAMES)
    assert not read_bdd100k(tmp_path, "test")[0].has_ground_truth
    (tmp_path / "labels" / "box_track_20" / "train" / "v.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"v\.json does not exist"):
        read_bdd100k(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="val does not exist"):
        read_bdd100k(tmp_path, "val")
