import json
from pathlib import Path

import numpy as np
import pytest

from mnemic_track.results import bdd100k_writer, json_lines_writer, mot_writer, read_mot
from mnemic_vision.tracks import Track

FRAMES = [
    [Track(3, 0, 0.9, (1.25, -2.5, 30.0, 60.0)), Track(11, 1, 0.512345, (1 / 3, 100.0, 1e-3, 4.0))],
    [],
    [Track(3, 0, 0.8, (1919.123456, 2.0, 31.0, 59.0))],
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "result"


def test_mot_text_reads_back_as_it_was_written(path: Path) -> None:
    with mot_writer(path) as write:
        for index, tracks in enumerate(FRAMES):
            write(index, tracks)
    rows = read_mot(path)
    assert rows.frame.tolist() == [1, 1, 3]
    assert rows.id.tolist() == [3, 11, 3]
    expected = [track.box for tracks in FRAMES for track in tracks]
    np.testing.assert_allclose(rows.boxes_xywh, expected, rtol=0, atol=5e-5)


def test_mot_lines_end_as_the_challenge_wants(path: Path) -> None:
    with mot_writer(path) as write:
        write(0, FRAMES[0][:1])
    assert path.read_bytes() == b"1,3,1.25,-2.5,30.0,60.0,0.9,-1,-1,-1\n"


def test_json_lines_hold_every_frame_with_its_time(path: Path) -> None:
    with json_lines_writer(path) as write:
        for index, tracks in enumerate(FRAMES):
            write(index, index / 12.5, tracks)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["frame"], line["time"], len(line["tracks"])) for line in lines] == [
        (0, 0.0, 2),
        (1, 0.08, 0),
        (2, 0.16, 1),
    ]
    assert lines[0]["tracks"][0] == {"id": 3, "label": 0, "score": 0.9, "box": [1.25, -2.5, 30.0, 60.0]}


def test_bdd100k_json_has_one_entry_a_frame(path: Path) -> None:
    with bdd100k_writer(path, "b1c66a42", ["pedestrian", "car"]) as write:
        for index, tracks in enumerate(FRAMES):
            write(index, tracks)
    entries = json.loads(path.read_text())
    assert [entry["name"][:-12] for entry in entries] == [entry["videoName"] for entry in entries]
    assert [(entry["frameIndex"], len(entry["labels"])) for entry in entries] == [(0, 2), (1, 0), (2, 1)]
    assert entries[0]["labels"][0] == {
        "id": "3",
        "category": "pedestrian",
        "box2d": {"x1": 1.25, "y1": -2.5, "x2": 31.25, "y2": 57.5},
    }


def test_bdd100k_json_without_frames_is_an_empty_list(path: Path) -> None:
    with bdd100k_writer(path, "video", []):
        pass
    assert json.loads(path.read_text()) == []


def test_a_label_without_a_category_is_named_and_leaves_no_file(path: Path) -> None:
    with (
        pytest.raises(ValueError, match="track 11 has label 1"),
        bdd100k_writer(path, "video", ["pedestrian"]) as write,
    ):
        write(0, FRAMES[0])
    assert list(path.parent.iterdir()) == []


def test_the_reader_keeps_rows_above_a_score(path: Path) -> None:
    path.write_text("1,-1,0,0,5,5,0.7,-1,-1,-1\n\n1,-1,1,0,5,5,0.71,-1,-1,-1\n")
    assert read_mot(path).frame.tolist() == [1, 1]
    assert read_mot(path, min_score=0.7).boxes_xywh.tolist() == [[1, 0, 5, 5]]


def test_selected_rows_stay_together(path: Path) -> None:
    path.write_text("1,4,0,0,5,5\n2,5,1,0,5,5\n")
    rows = read_mot(path).select(np.array([False, True]))
    assert (rows.frame.tolist(), rows.id.tolist(), rows.boxes_xywh[0].tolist()) == ([2], [5], [1, 0, 5, 5])


def test_an_empty_file_has_no_rows(path: Path) -> None:
    path.write_text("\n")
    assert read_mot(path).boxes_xywh.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "expected 6 or more columns"),
        ("1 2 3 4 5 6", "expected 6 or more columns"),
        ("frame,id,x,y,w,h", "expected numbers"),
        ("1,2,nan,4,5,6", "whole number"),
        ("0,2,3,4,5,6", "whole number from 1"),
        ("1.5,2,3,4,5,6", "whole number from 1"),
        ("1,2,3,4,-5,6", "not be negative"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(path: Path, line: str, reason: str) -> None:
    path.write_text(f"1,1,0,0,5,5\n{line}\n")
    with pytest.raises(ValueError, match=f"result, line 2: .*{reason}") as caught:
        read_mot(path)
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_a_malformed_line(path: Path) -> None:
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="line 1"):
        read_mot(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="result does not exist"):
        read_mot(path)
