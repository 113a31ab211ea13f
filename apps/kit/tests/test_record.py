from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.record import Record, content_digest, difference


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.json"


def test_equal_settings_give_the_results_again(path: Path) -> None:
    assert Record(path, {"sizes": (1, 2), "data": Path("a")}).read() is None
    Record(path, {"sizes": (1, 2), "data": Path("a")}).write({"score": 0.5})
    content = Record(path, {"sizes": [1, 2], "data": "a"}).read()
    assert content == {"settings": {"sizes": [1, 2], "data": "a"}, "score": 0.5}


def test_other_settings_are_one_line_that_names_the_difference_and_the_way_out(path: Path) -> None:
    Record(path, {"batch_size": 2, "data": "a"}).write({"score": 0.5})
    with pytest.raises(
        UserError, match=r"scores\.json .*\(batch_size: 2 there, 8 here\); give another --out"
    ) as caught:
        Record(path, {"batch_size": 8, "data": "a"}).read()
    assert "\n" not in str(caught.value)


def test_settings_that_only_one_side_has_are_named() -> None:
    assert difference({"a": 1}, {"b": None}) == "a: 1 there, not set here; b: not set there, null here"


def test_many_differences_are_counted() -> None:
    assert difference(dict.fromkeys("abcdef", 1), dict.fromkeys("abcdef", 2)).endswith("d: 1 there, 2 here; and 2 more")


@pytest.mark.parametrize("content", [b"[1]", b"{}", b'{"settings": 3}', b"not JSON", bytes(range(256))])
def test_a_file_without_settings_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"scores\.json .*; give another --out"):
        Record(path, {}).read()


def test_numbers_that_json_lacks_are_null(path: Path) -> None:
    Record(path, {}).write({"scores": [float("nan"), float("inf"), 1.0]})
    content = Record(path, {}).read()
    assert content is not None
    assert content["scores"] == [None, None, 1.0]


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("weights")
    second.write_text("weights")
    assert content_digest(first) == content_digest(second)
    of_folder = content_digest(tmp_path)
    second.write_text("other weights")
    assert content_digest(first) != content_digest(second)
    assert content_digest(tmp_path) != of_folder
    with pytest.raises(FileNotFoundError):
        content_digest(tmp_path / "absent")
