"""No command writes over one of its inputs, or over a file that it did not make."""

import shutil
from pathlib import Path

import pytest

from mnemic_lm import cli


def code(*arguments: object) -> object:
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    return exit_request.value.code


def test_evaluate_leaves_a_text_with_the_name_of_its_scores(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "scores.json"
    text.write_text(20 * "the memory of a text ")
    assert code("evaluate", "--checkpoint", checkpoint, "--data", text, "--out", tmp_path) == 2
    assert "scores.json is an input of this command" in capsys.readouterr().err
    assert text.read_text() == 20 * "the memory of a text "


def test_generate_leaves_a_file_that_is_no_session(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes, copy = tmp_path / "notes.txt", shutil.copy(checkpoint, tmp_path / "last.ckpt")
    notes.write_text("mine")
    before = copy.read_bytes()
    for session in (notes, copy):
        assert code("generate", "--checkpoint", copy, "--tokens", 1, "--session", session) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert (notes.read_text(), copy.read_bytes()) == ("mine", before)


def test_a_session_that_was_copied_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    common = ["generate", "--checkpoint", checkpoint, "--tokens", 2, "--session"]
    assert code(*common, tmp_path / "session") == 0
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(tmp_path / "session", tmp_path / "elsewhere" / "session")
    assert code(*common, copy) == 0
    assert copy.read_bytes() != (tmp_path / "session").read_bytes()
