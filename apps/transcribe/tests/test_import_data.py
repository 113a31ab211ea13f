from pathlib import Path

import numpy as np
import pytest
import soundfile

from mnemic_speech.data import Utterance, read_manifest
from mnemic_transcribe import cli
from mnemic_transcribe.digits import read_digit_strings, render


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["import-data", *arguments])
    assert isinstance(exit_request.value.code, int)
    return exit_request.value.code


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    (tmp_path / "index.tsv").write_text("path\ttext\tsplit\na.wav\thello\tdev\nnone.wav\tbye\ttest\n")
    return tmp_path


def test_a_data_set_becomes_a_manifest(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recordings / "dev.jsonl"
    assert run(str(recordings), "--out", str(out), "--split", "dev") == 0
    assert read_manifest(out) == [Utterance(recordings / "a.wav", 0.1, "hello", id="a")]
    assert "1 utterances, 0.00 h" in capsys.readouterr().out


def test_wrong_rows_are_left_out_and_listed(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recordings / "all.jsonl"
    assert run(str(recordings), "--out", str(out)) == 2
    assert [each.text for each in read_manifest(out)] == ["hello"]
    assert "left out: " in (listed := capsys.readouterr().err)
    assert "index.tsv:3: " in listed


def test_without_a_row_that_can_be_used_the_earlier_manifest_stays(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = recordings / "all.jsonl", recordings / "list.csv"
    assert run(str(recordings), "--out", str(out), "--split", "dev") == 0
    before = out.read_text()
    table.write_text(
        "ID,duration,wav,spk_id,wrd\nu1,2.0,gone.wav,s,hello\n"
    )  # the duration is known, the file not there
    assert run(str(table), "--out", str(out)) == 2
    assert "no utterance that can be used; the first problem: " in capsys.readouterr().err
    assert out.read_text() == before


def test_digit_strings_are_rendered(tmp_path: Path) -> None:
    (tmp_path / "isolated/ann").mkdir(parents=True)
    soundfile.write(tmp_path / "isolated/ann/1_ann_05.flac", np.linspace(-0.9, 0.9, 160), 8000)
    (tmp_path / "strings.tsv").write_text(
        "id\tsplit\tspeaker\tn_digits\tseconds\tlead_ms\tparts\ttext\ndev_0\tdev\tann\t1\t0.035\t5\t1_ann_05:10\tone\n"
    )
    assert run(str(tmp_path), "--out", str(tmp_path / "dev.jsonl"), "--split", "dev") == 0
    (utterance,) = read_manifest(tmp_path / "dev.jsonl")
    assert utterance == Utterance(tmp_path / "dev/dev_0.flac", 0.035, "one", id="dev_0", speaker="ann")
    rendered = render(read_digit_strings(tmp_path)[0], seed=0)
    assert (utterance.read(8000) - rendered).abs().max() <= 1 / 32768  # FLAC of 16 bits


@pytest.mark.parametrize(
    ("out", "message"), [("list.txt", "a manifest is a .jsonl file"), ("none/list.jsonl", "does not exist")]
)
def test_wrong_targets_are_refused_before_reading(
    tmp_path: Path, out: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path / "nothing"), "--out", str(tmp_path / out)) == 2
    assert message in capsys.readouterr().err
