from pathlib import Path

import pytest

from mnemic_track import cli


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return exit code and standard error."""
    with pytest.raises(SystemExit) as exit_request:
        cli.main(arguments)
    return exit_request.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runn"], "invalid choice: 'runn'"),
        (["run", "absent.mp4", "--checkpoint", "absent.ckpt"], "no checkpoint at absent.ckpt"),
        (["evaluate", "--data", "absent"], "absent is not a folder"),
        (["evaluate", "--data", "x", "--memory", "elephant"], "elephant"),
        (["run", "x.mp4", "--evry", "2"], "evry"),
        (["fit", "--config", "memotr_dancetrak"], "memotr_dancetrack"),
        (["fit", "--config", "memotr_generated", "--model.config.dims=3"], "dims"),
        (["fit", "--config", "memotr_generated", "--model.config.dim=33"], "got dim=33"),
        (["import-weights", "absent.pth", "--out", "out.pth"], "safetensors"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = run(arguments, capsys)
    assert code == 2
    assert message.startswith("mnemic-track: error: ")
    assert message.count("\n") == 1
    assert expected in message


def test_an_unknown_key_in_a_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "typo.yaml"
    config.write_text("data: {train: [{name: generated}], batchsize: 3}\n")
    code, message = run(["fit", "--config", str(config)], capsys)
    assert code == 2
    assert message.count("\n") == 1
    assert "batchsize" in message
