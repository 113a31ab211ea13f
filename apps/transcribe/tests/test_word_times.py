"""Word times of the shipped network on digits whose times are known."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mnemic_transcribe.checkpoints import open_transcriber
from mnemic_transcribe.digits import SAMPLE_RATE, read_digit_strings, render

DIGITS = Path(__file__).parents[4] / "shared/data/speech_digits"


@pytest.mark.skipif(not DIGITS.is_dir(), reason="needs the shared digits")
def test_words_begin_and_end_with_their_sound() -> None:
    transcriber, errors = open_transcriber(device="cpu"), []
    for string in read_digit_strings(DIGITS, "dev")[:20]:
        time, truth = string.lead_ms / 1000, []
        for take in string.takes:
            seconds = soundfile.info(take.path).duration
            truth.append((time, time + seconds))
            time += seconds + take.pause_ms / 1000
        found = transcriber.transcribe(render(string, noise=0.0005), SAMPLE_RATE)
        words = [word for segment in found.segments for word in segment.words]
        if " ".join(word.text for word in words) == string.text:
            errors += [(word.start - start, word.end - end) for word, (start, end) in zip(words, truth, strict=True)]
    assert len(errors) > 60
    assert (np.abs(np.median(errors, axis=0)) < 0.05).all()
