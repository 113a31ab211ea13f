from pathlib import Path

import pytest

from mnemic_lm import cli


def written(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["generate", *map(str, arguments)])
    return capsys.readouterr().out[:-1]


def test_a_text_written_in_two_sessions_equals_one_written_at_once(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # By then the likely bytes are plain letters: a character that two sessions share would be shown in halves.
    common = ["--checkpoint", checkpoint, "--temperature", 0.05]
    whole = written(capsys, *common, "--prompt", "the ", "--tokens", 14)
    session = ["--session", tmp_path / "session"]
    first = written(capsys, *common, "--prompt", "the ", "--tokens", 5, *session)
    assert first + written(capsys, *common, "--tokens", 9, *session) == whole
    assert len(whole) == 14


def test_the_seed_decides_what_is_written(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        written(capsys, "--checkpoint", checkpoint, "--tokens", 12, "--seed", seed, "--top-k", 9) for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
