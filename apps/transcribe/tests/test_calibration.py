"""The shipped recognizer says when it hears what it was not trained for."""

import logging
from pathlib import Path

import pytest
import soundfile
import torch

from mnemic_speech.audio import read_audio
from mnemic_transcribe.calibration import usual_uncertainty
from mnemic_transcribe.checkpoints import open_transcriber
from mnemic_transcribe.commands.run import run
from mnemic_transcribe.digits import SAMPLE_RATE, read_digit_strings, render

DATA = Path(__file__).parents[4] / "shared/data"
needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared recordings")


def noise(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    silence = 1e-4 * torch.randn(SAMPLE_RATE, generator=generator)
    return torch.cat([silence, 0.1 * torch.randn(4 * SAMPLE_RATE, generator=generator), silence])


def test_noise_is_unlike_digits() -> None:
    transcriber = open_transcriber(device="cpu")
    found = [transcriber.transcribe(noise(seed), SAMPLE_RATE).uncertainty for seed in range(3)]
    assert transcriber.settings.max_uncertainty is not None
    assert min(uncertainty or 0.0 for uncertainty in found) > 1.5 * transcriber.settings.max_uncertainty


def test_a_run_warns_and_succeeds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "noise.wav", noise(0), SAMPLE_RATE)
    with caplog.at_level(logging.WARNING):
        run((tmp_path / "noise.wav",), tmp_path / "out")
    assert "noise.wav sounds unlike what this recognizer was trained on" in caplog.text
    assert (tmp_path / "out" / "noise.txt").is_file()


@needs_recordings
def test_most_english_sentences_are_unlike_digits_and_digits_are_not() -> None:
    transcriber = open_transcriber(device="cpu")
    highest = transcriber.settings.max_uncertainty
    assert highest is not None
    sentences = [read_audio(path, SAMPLE_RATE) for path in sorted((DATA / "read_speech/audio").glob("LJ*.flac"))[::2]]
    digits = [render(string, seed=1) for string in read_digit_strings(DATA / "speech_digits", "dev")[:30]]
    doubts = [
        [float(transcriber.transcribe(each, SAMPLE_RATE).uncertainty or 0) > highest for each in recordings]
        for recordings in (sentences, digits)
    ]
    assert sum(doubts[0]) >= 0.8 * len(doubts[0])
    assert sum(doubts[1]) <= 1


@needs_recordings
def test_the_usual_uncertainty_is_above_that_of_nearly_all_recordings() -> None:
    transcriber = open_transcriber(device="cpu")
    recordings = [render(string) for string in read_digit_strings(DATA / "speech_digits", "dev")[:20]]
    found = [transcriber.transcribe(recording, SAMPLE_RATE).uncertainty for recording in recordings]
    highest = max(each for each in found if each is not None)
    assert usual_uncertainty(transcriber, iter(recordings), SAMPLE_RATE) == pytest.approx(highest, rel=0.2)
