from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings

Build = Callable[..., Recognizer]
Say = Callable[..., Tensor]
TEXT = "one two two three four one four three three two one four two one three four four one two three"
FAST = TranscriptionSettings("ctc", max_seconds=2.0, overlap=0.8)


@pytest.fixture
def transcriber(build: Build) -> Transcriber:
    return Transcriber(build(), FAST)


def test_a_file_and_its_samples_give_the_same_transcript(transcriber: Transcriber, say: Say, tmp_path: Path) -> None:
    waveform = say(TEXT, 0.12)
    soundfile.write(tmp_path / "speech.wav", waveform.numpy(), 8000, subtype="FLOAT")
    transcript = transcriber.transcribe(tmp_path / "speech.wav")
    assert transcript.text == TEXT
    assert transcript.duration == len(waveform) / 8000
    assert transcript == transcriber.transcribe(waveform, 8000) == transcriber.transcribe(waveform.numpy(), 8000)


@pytest.mark.parametrize("rate", [11025, 48000])
def test_any_sampling_rate_gives_the_text(transcriber: Transcriber, say: Say, rate: int) -> None:
    transcript = transcriber.transcribe(say(TEXT, 0.12, rate=rate), rate)
    assert transcript.text == TEXT
    assert transcript.duration == pytest.approx(0.6 + 20 * 0.36, abs=1e-3)


def test_utterances_of_a_batch_are_not_segmented_and_keep_their_order(transcriber: Transcriber, say: Say) -> None:
    texts = ["four", TEXT, "two one", "three"]
    transcripts = transcriber.transcribe_batch([say(text, 0.12) for text in texts], 8000, batch_size=2)
    assert [transcript.text for transcript in transcripts] == texts
    assert [len(transcript.segments) for transcript in transcripts] == [1, 1, 1, 1]
    assert transcriber.transcribe_batch([]) == []


def test_a_silent_recording_has_no_segments(transcriber: Transcriber) -> None:
    assert transcriber.transcribe(torch.zeros(30000), 8000).segments == ()
    assert transcriber.transcribe(np.zeros(0), 8000).duration == 0
    assert transcriber.transcribe_batch([torch.zeros(0)])[0].segments == ()


def test_a_clipped_recording_is_transcribed(transcriber: Transcriber, say: Say) -> None:
    assert transcriber.transcribe((10 * say(TEXT, 0.12)).clamp(-1, 1), 8000).duration > 7


def test_the_rate_belongs_to_waveforms_and_not_to_files(transcriber: Transcriber, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a waveform needs sample_rate"):
        transcriber.transcribe(torch.zeros(8))
    with pytest.raises(ValueError, match=r"sample_rate is for waveforms; .*speech\.wav knows its own"):
        transcriber.transcribe(tmp_path / "speech.wav", 8000)
    with pytest.raises(FileNotFoundError, match=r"absent\.wav"):
        transcriber.transcribe(tmp_path / "absent.wav")


def test_a_network_without_the_branch_is_refused_at_once(build: Build) -> None:
    with pytest.raises(ValueError, match="needs the branch decoder"):
        Transcriber(build(ctc_weight=1.0), TranscriptionSettings("joint"))
