from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mnemic_transcribe.digits import read_digit_strings
from mnemic_transcribe.drawn_digits import Drawn
from mnemic_transcribe.sources import DataSource

NAMES = ("zero", "one", "two")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Return a folder of digit strings of two speakers, each take a constant of its own, in two splits."""
    rows = ["\t".join(("id", "split", "speaker", "n_digits", "seconds", "lead_ms", "parts", "text"))]
    for speaker, level in (("ann", 0.1), ("bob", 0.3)):
        folder = tmp_path / "isolated" / speaker
        folder.mkdir(parents=True)
        for take in range(4):
            for digit in range(3):
                wave = np.full(800 * (digit + 1), level + 0.02 * take)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.flac", wave, 8000)
            split = "dev" if take == 0 else "train"
            parts = " ".join(f"{digit}_{speaker}_{take}:{pause}" for digit, pause in ((2, 40), (0, 80), (1, 120)))
            text = "two zero one"
            rows.append(f"{split}-{speaker}-{take}\t{split}\t{speaker}\t3\t0.940\t100\t{parts}\t{text}")
    (tmp_path / "strings.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_listed_strings_are_rendered_with_noise_that_the_random_numbers_decide(digits: Path) -> None:
    clip = DataSource("digits", digits, "dev").open("upper")[0]
    first, again, other = (clip.read(8000, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (clip.id, clip.text, len(first)) == ("dev-ann-0", "TWO ZERO ONE", round(8000 * clip.seconds))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first[:800].std() == pytest.approx(0.002, rel=0.2)


def test_another_sample_rate_gives_the_same_duration(digits: Path) -> None:
    clip = DataSource("digits", digits, "dev").open("upper")[0]
    assert len(clip.read(16000, np.random.default_rng())) == round(16000 * clip.seconds)


def test_drawn_strings_are_made_of_takes_of_their_speaker_digit_and_split(digits: Path) -> None:
    drawn = Drawn(50, 2, 5, seed=1).strings(read_digit_strings(digits, "train"))
    for string in drawn:
        words = string.text.split()
        assert 2 <= len(words) == len(string.takes) <= 5
        for word, take in zip(words, string.takes, strict=True):
            digit, speaker, number = take.path.stem.split("_")
            assert (NAMES[int(digit)], speaker) == (word, string.speaker)
            assert number != "0"  # a take of dev
            assert take.pause_ms in {40, 80, 120}
    assert {string.speaker for string in drawn} == {"ann", "bob"}
    assert len({string.id for string in drawn}) == 50


def test_a_drawn_string_lasts_as_long_as_it_says(digits: Path) -> None:
    for clip in DataSource("digits", digits, "train", drawn=Drawn(5)).open("lower"):
        assert len(clip.read(8000, np.random.default_rng())) == pytest.approx(8000 * clip.seconds, abs=2)


def test_drawn_strings_follow_from_their_seed(digits: Path) -> None:
    listed = read_digit_strings(digits, "train")
    assert Drawn(9, seed=1).strings(listed) == Drawn(9, seed=1).strings(listed)
    assert Drawn(9, seed=1).strings(listed) != Drawn(9, seed=2).strings(listed)


def test_a_source_says_what_it_is(digits: Path) -> None:
    assert str(DataSource("digits", Path("x"), "train")) == "digits x train"
    assert "num_strings=5" in str(DataSource("digits", Path("x"), "train", drawn=Drawn(5)))
    assert "num_clips=256" in str(DataSource("generated"))


def test_an_empty_range_of_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="got 5, 4 and 3"):
        Drawn(5, 4, 3)
