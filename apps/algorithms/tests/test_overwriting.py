"""No command writes over one of its inputs, or over a file that it did not make."""

from pathlib import Path

import pytest

from mnemic_algorithms import cli


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["evaluate", "--checkpoint", "absent.ckpt"], "accuracy.png"),
        (["bench", "--mechanism", "window", "--dim", "8", "--stored", "4", "--segments", "8"], "bench.md"),
        (["compare", "--machines", "rnn", "--seeds", "0"], "compare.json"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_file_with_the_name_of_a_result_stays(
    command: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--out", str(tmp_path)])
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]
