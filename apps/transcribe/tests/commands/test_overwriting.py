"""No command writes over one of its inputs, or over a file that it did not make."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mnemic_transcribe import cli


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    assert exit_request.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "give another --out" in message
    return message


def test_run_leaves_its_own_input_and_transcripts_of_others(
    checkpoint: Path, speak: Callable[[str, Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = speak("zero", tmp_path / "talk.wav")
    (tmp_path / "talk.txt").write_text("typed by hand")
    common = ["run", sound, "--checkpoint", checkpoint, "--out"]
    assert "talk.txt exists" in refuse(capsys, *common, tmp_path)
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            cli.main([*map(str, common), str(tmp_path / "out")])
    assert (tmp_path / "talk.txt").read_text() == "typed by hand"
    (tmp_path / "out" / "talk.wav").hardlink_to(sound)
    named = sound.rename(tmp_path / "talk.srt")
    common[1] = named
    assert "talk.srt is an input" in refuse(capsys, *common, tmp_path, "--formats", "srt")


def test_evaluate_leaves_a_file_with_the_name_of_its_scores(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.json").write_text("mine")
    message = refuse(capsys, "evaluate", "--data", manifest, "--checkpoint", checkpoint, "--out", tmp_path)
    assert "scores.json exists" in message
    assert (tmp_path / "scores.json").read_text() == "mine"


def test_average_and_import_leave_their_inputs(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = Path(shutil.copy(checkpoint, tmp_path / "state.ckpt"))  # other tests need the original
    before = state.read_bytes(), manifest.read_bytes()
    assert "is an input" in refuse(capsys, "average", "--checkpoints", state, state, "--out", state)
    assert "exists" in refuse(capsys, "import-data", manifest.parent, "--out", manifest)
    assert (state.read_bytes(), manifest.read_bytes()) == before
