"""Result files come back as they were written, and each damage is named in one line."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnemic_core.errors import UserError
from mnemic_vision.matr import DetectedAction, read_results, write_results

JUMP = DetectedAction("jump", 0.875, start=-0.5, end=2.25, emitted=2.5)
FIELDS = JUMP.as_dict()


def written(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = {"clip": (JUMP, replace(JUMP, label='über "all"')), "v_clip": (), 'a "b"': (replace(JUMP, score=1 / 3),)}
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == results
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_files_have_the_fields_of_activitynet(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", {"clip": [JUMP]})
    content = json.loads((tmp_path / "results.json").read_text())
    assert sorted(content) == ["external_data", "results", "version"]
    assert content["results"] == {"clip": [{"segment": [-0.5, 2.25], "label": "jump", "score": 0.875, "gentime": 2.5}]}


def test_a_file_without_streams_is_read(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", {})
    assert read_results(tmp_path / "results.json") == {}


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    fields = {"segment": [1, 2], "label": "jump", "score": 1, "gentime": 3}
    path = written(tmp_path, {"results": {"clip": [fields]}})
    assert read_results(path) == {"clip": (DetectedAction("jump", 1.0, 1.0, 2.0, 3.0),)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segment": [3.0, 1.0]}, "stream 'clip', result 1 ends at 1.0 s, before its start at 3.0 s"),
        ({"segment": [1.0]}, r"must have a segment \[start, end\], got \[1.0\]"),
        ({"segment": [1.0, None]}, "must have a number as end, got None"),
        ({"segment": [1.0, math.inf]}, "has the end inf, expected a finite number"),
        ({"score": math.nan}, "has the score nan, expected a finite number"),
        ({"score": True}, "must have a number as score, got True"),
        ({"score": 10**400}, "has the score inf"),
        ({"gentime": "2.5"}, "must have a number as emitted, got '2.5'"),
        ({"label": 3.0}, "must have the name of a class as label, got 3.0"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {"results": {"clip": [FIELDS, FIELDS | changes]}})
    with pytest.raises(UserError, match=message):
        read_results(path)


@pytest.mark.parametrize("name", ["segment", "label", "score", "gentime"])
def test_an_absent_field_is_named(tmp_path: Path, name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != name}
    with pytest.raises(UserError, match=f"stream 'clip', result 0 lacks '{name}'"):
        read_results(written(tmp_path, {"results": {"clip": [fields]}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"results": {"clip": [', "is not complete JSON"),
        ("[]", 'has no "results"'),
        ("{}", 'has no "results"'),
        ('{"results": []}', 'has no "results"'),
        ('{"results": {"clip": {}}}', "stream 'clip' must be a list of actions, got {}"),
        ('{"results": {"clip": [1]}}', "result 0 must be an object with segment"),
        ('{"results": {"clip": [], "clip": []}}', "has 'clip' twice"),
        ("[" * 100_000, "is not a JSON file"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_results(written(tmp_path, content))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(UserError, match="is not a JSON file"):
        read_results(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result file at"):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize("wrong", [replace(JUMP, score=math.nan), replace(JUMP, end=-3.0)])
def test_wrong_results_are_not_written(tmp_path: Path, wrong: DetectedAction) -> None:
    with pytest.raises(UserError, match="result 0 of stream 'clip'"):
        write_results(tmp_path / "results.json", {"clip": [wrong]})
    assert list(tmp_path.iterdir()) == []
