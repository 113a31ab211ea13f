import os
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.made_files import LIST, check_outputs, note_output, protecting


def write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)


def test_a_file_that_was_made_here_is_replaced(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with protecting([]):
            write(tmp_path / "scores.json", text)
    assert (tmp_path / "scores.json").read_text() == "second"


def test_a_foreign_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("mine")
    with protecting([]), pytest.raises(UserError, match=r"scores\.json exists and was not made by this program"):
        write(tmp_path / "scores.json", "theirs")
    assert (tmp_path / "scores.json").read_text() == "mine"
    assert not (tmp_path / LIST).exists()


def test_a_file_edited_by_hand_is_refused(tmp_path: Path) -> None:
    with protecting([]):
        write(tmp_path / "notes.txt", "made")
        (tmp_path / "notes.txt").write_text("edited by hand")
        with pytest.raises(UserError, match="was not made by this program"):
            write(tmp_path / "notes.txt", "made again")
    assert (tmp_path / "notes.txt").read_text() == "edited by hand"


@pytest.mark.parametrize("kind", ["same", "hard link", "symbolic link", "detour", "linked folder"])
def test_an_input_is_refused_under_any_name(tmp_path: Path, kind: str) -> None:
    with protecting([]):
        write(tmp_path / "input.txt", "made here, and now read")
    source, target = tmp_path / "input.txt", tmp_path / "output.txt"
    if kind == "hard link":
        target.hardlink_to(source)
    elif kind == "symbolic link":
        target.symlink_to(source)
    elif kind == "linked folder":
        (tmp_path / "folder").symlink_to(tmp_path)
        target = tmp_path / "folder" / "input.txt"
    else:
        (tmp_path / "sub").mkdir()
        target = source if kind == "same" else tmp_path / "sub" / ".." / "input.txt"
    with protecting([source]), pytest.raises(UserError, match="is an input of this command"):
        write(target, "result")
    assert source.read_text() == "made here, and now read"


def test_a_link_to_nowhere_is_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "result.txt").symlink_to(tmp_path / "absent")
    with protecting([]), pytest.raises(UserError, match="was not made by this program"):
        check_outputs(tmp_path / "result.txt")


def test_a_kill_between_noting_and_renaming_leaves_a_file_that_is_still_ours(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    with protecting([]):
        write(target, "step 1")
        (tmp_path / "temporary").write_text("step 2")
        note_output(target, tmp_path / "temporary")  # and killed
        write(target, "step 3")
    assert target.read_text() == "step 3"


def test_folders_are_known_as_long_as_their_content_is_what_was_made(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "made" / "truth.txt").write_text("made")
    (tmp_path / "other" / "truth.txt").write_text("mine")
    with protecting([]):
        note_output(tmp_path / "made")
        check_outputs(tmp_path / "empty")
        check_outputs(tmp_path / "made")
        with pytest.raises(UserError, match="other exists"):
            check_outputs(tmp_path / "other")
        (tmp_path / "made" / "truth.txt").write_text("edited by hand")
        with pytest.raises(UserError, match="made exists"):
            check_outputs(tmp_path / "made")


@pytest.mark.parametrize("content", [b"mine", b"\xff\n", b"\n", None])
def test_a_file_that_only_has_the_name_of_the_list_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        (tmp_path / LIST).mkdir()
    else:
        (tmp_path / LIST).write_bytes(content)
    with protecting([]), pytest.raises(UserError, match="is not a list of files that this program made"):
        check_outputs(tmp_path / "scores.json")
    assert content is None or (tmp_path / LIST).read_bytes() == content


@pytest.mark.parametrize("name", [b"two\nlines", b"latin-1 \xe9", "two\u2028lines".encode()])
def test_any_name_can_be_listed(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    for text in ("first", "second"):
        with protecting([]):
            write(path, text)
    assert path.read_text() == "second"


def test_outside_a_command_nothing_is_refused_or_noted(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("earlier")
    write(tmp_path / "scores.json", "later")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
