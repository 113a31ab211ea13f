from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnemic_transcribe.digits import DigitString, DigitTake, read_digit_strings, render

DIGITS = Path(__file__).parents[5] / "shared/data/speech_digits"
HEAD = "id\tsplit\tspeaker\tn_digits\tseconds\tlead_ms\tparts\ttext"
ROW = "dev_0\tdev\tann\t2\t0.062\t5\t1_ann_05:10 2_ann_06:7\tone two"


@pytest.fixture
def folder(tmp_path: Path, make_audio: Callable[..., Path]) -> Path:
    for name in ("1_ann_05", "2_ann_06"):
        make_audio(f"isolated/ann/{name}.flac", seconds=0.02, sample_rate=8000)
    (tmp_path / "strings.tsv").write_text(f"{HEAD}\n{ROW}\n")
    return tmp_path


def test_recipes_are_read(folder: Path) -> None:
    takes = (DigitTake(folder / "isolated/ann/1_ann_05.flac", 10), DigitTake(folder / "isolated/ann/2_ann_06.flac", 7))
    assert read_digit_strings(folder) == [DigitString("dev_0", "dev", "ann", "one two", 0.062, 5, takes)]
    assert read_digit_strings(folder, "dev") == read_digit_strings(folder)


def test_takes_lie_between_silences(folder: Path) -> None:
    take = torch.arange(160.0)
    expected = torch.cat([torch.zeros(40), take, torch.zeros(80), take, torch.zeros(56)])
    assert (render(read_digit_strings(folder)[0], noise=0.0) * 32768).round().equal(expected)


def test_only_silences_are_noisy_and_noise_follows_the_seed(folder: Path) -> None:
    string = read_digit_strings(folder)[0]
    noise = render(string, seed=1) - render(string, noise=0.0)
    assert noise[40:200].abs().max() == 0
    assert 0.001 < noise[200:280].std() < 0.003
    assert render(string, seed=1).equal(render(string, seed=1))
    assert not render(string, seed=1).equal(render(string, seed=2))


def test_wrong_recipes_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="no split 'test'; it has dev"):
        read_digit_strings(folder, "test")
    (folder / "strings.tsv").write_text(f"{HEAD}\n{ROW}\ndev_1\tdev\tann\n")
    with pytest.raises(ValueError, match=r"strings\.tsv:3: no seconds, lead_ms, parts, text"):
        read_digit_strings(folder)
    (folder / "strings.tsv").write_text(f"{HEAD}\n{ROW.replace(':10', '')}\n")
    with pytest.raises(ValueError, match=r"strings\.tsv:2: .* expected numbers in .*take:pause_ms"):
        read_digit_strings(folder)
    (folder / "strings.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"strings\.tsv; give the folder of the digit strings"):
        read_digit_strings(folder)


@pytest.mark.skipif(not DIGITS.is_dir(), reason="needs the shared digits")
@pytest.mark.parametrize(("split", "count"), [("train", 2000), ("dev", 200), ("dev_long", 18)])
def test_the_shared_recipes_are_complete(split: str, count: int) -> None:
    strings = read_digit_strings(DIGITS, split)
    assert len(strings) == count
    for string in strings:
        assert len(string.takes) == len(string.text.split())
    for string in strings[:: count // 6]:
        assert abs(len(render(string)) / 8000 - string.seconds) <= 0.0005
