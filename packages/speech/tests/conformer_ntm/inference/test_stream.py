from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from mnemic_core.testing import unchecked_annotations
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.conformer_ntm.stream import TranscriptStream, as_waveform
from mnemic_speech.silence import SilenceSplitter
from mnemic_speech.transcript import TranscriptSegment

Build = Callable[..., Recognizer]
Say = Callable[..., Tensor]
TEXT = "one two two three four one four three three two one four two one three four four one two three"
CARRIED = TranscriptionSettings("ctc", carry_memory=True)
FAST = TranscriptionSettings("ctc", max_seconds=2.0, overlap=0.8)  # all speech is cut
PAUSES = [0.12, 0.5, 0.12, 0.12, 0.6] * 4


def transcribe(stream: TranscriptStream, waveform: Tensor, pieces: list[int]) -> list[TranscriptSegment]:
    """Push a waveform in pieces of the given sizes, the rest at once."""
    ends = [*accumulate(pieces), len(waveform)]
    segments = [each for a, b in pairwise([0, *ends]) for each in stream.push(waveform[a : max(a, b)])]
    return segments + stream.finish()


def text_of(segments: list[TranscriptSegment]) -> str:
    return " ".join(segment.text for segment in segments)


@pytest.mark.parametrize("settings", [CARRIED, FAST], ids=["pauses", "cuts"])
@pytest.mark.parametrize("rate", [8000, 11025])
def test_the_transcript_does_not_depend_on_the_pieces(
    build: Build, say: Say, settings: TranscriptionSettings, rate: int
) -> None:
    recognizer, waveform = build("turing_improved"), say(TEXT, PAUSES, rate=rate)
    complete = transcribe(TranscriptStream(recognizer, settings, rate), waveform, [])
    assert len(complete) >= 4
    random = torch.Generator().manual_seed(0)
    for largest in (3000, 30000):
        pieces = torch.randint(0, largest, (20,), generator=random).tolist()
        assert transcribe(TranscriptStream(recognizer, settings, rate), waveform, pieces) == complete


@pytest.mark.parametrize("lead", [0.6, 0.73, 0.98])
def test_no_word_is_lost_or_doubled_where_speech_without_pause_is_cut(build: Build, say: Say, lead: float) -> None:
    waveform = say(TEXT, 0.12, lead)
    segments = transcribe(TranscriptStream(build(), FAST, 8000), waveform, [])
    assert text_of(segments) == TEXT
    assert len(segments) >= 4
    words = [word for segment in segments for word in segment.words]
    for place, word in enumerate(words):
        assert abs((word.start + word.end) / 2 - (lead + place * 0.36 + 0.12)) < 0.05
    assert all(a.end == b.start for a, b in pairwise(segments))  # they are contiguous


def test_words_after_a_cut_are_said_though_only_silence_follows(build: Build, say: Say) -> None:
    text = "one two two three four"  # ends 0.2 s before the longest segment does
    waveform = torch.cat([say(text, 0.12), torch.zeros(8000)])
    stream = TranscriptStream(build(), FAST, 8000)
    assert [segment.is_cut for segment in SilenceSplitter(8000, max_seconds=2.0).push(waveform)] == [True]
    assert text_of(stream.push(waveform)) == text
    assert stream.finish() == []


@pytest.mark.parametrize("settings", [CARRIED, FAST], ids=["pauses", "cuts"])
@pytest.mark.parametrize("seconds", [0.5, 2.9, 4.4, 7.0])
def test_a_saved_stream_continues_with_the_same_text(
    build: Build, say: Say, settings: TranscriptionSettings, seconds: float, tmp_path: Path
) -> None:
    recognizer, waveform = build("turing_improved"), say(TEXT, PAUSES, rate=11025)
    complete = transcribe(TranscriptStream(recognizer, settings, 11025), waveform, [])
    place = round(seconds * 11025)
    before = TranscriptStream(recognizer, settings, 11025)
    segments = before.push(waveform[:place])
    before.save(tmp_path / "session")
    after = TranscriptStream(deepcopy(recognizer), settings, 11025)
    after.load(tmp_path / "session")
    assert after.report() == before.report()
    assert (after.partial(), after.seconds) == (before.partial(), before.seconds)
    assert segments + transcribe(after, waveform[place:], []) == complete


def test_the_memory_goes_from_segment_to_segment_where_it_is_carried(build: Build, say: Say) -> None:
    recognizer, waveform = build("turing_improved"), say("one two three", 0.7)
    splitter = SilenceSplitter(8000)
    parts = splitter.push(waveform) + splitter.finish()
    state = None
    for part in parts:
        _, state = recognize(recognizer, [part.samples], CARRIED, state)
    carried, fresh = (TranscriptStream(recognizer, each, 8000) for each in (CARRIED, TranscriptionSettings("ctc")))
    for stream in (carried, fresh):
        stream.push(waveform)
    _, last = recognize(recognizer, [parts[-1].samples], CARRIED)
    assert len(parts) == 3
    for stream, expected in ((carried, state), (fresh, last)):
        assert all(torch.equal(a, expected.tensors()[name]) for name, a in stream.memory.tensors().items())
    assert carried.report().capacity == 3


def test_the_state_of_a_long_recording_is_bounded(build: Build, say: Say) -> None:
    stream, speech = TranscriptStream(build("turing_improved"), FAST, 16000), say(TEXT, 0.12, 0.0, rate=16000)
    sizes = []
    for _ in range(5):
        stream.push(speech)
        sizes.append(size_of(stream.state_dict()))
    most = 8000 * 4 * (FAST.max_seconds + FAST.overlap + 1) + 8 * 1000  # samples, and a number for each short frame
    assert max(sizes) < most
    assert stream.seconds == 5 * len(speech) / 16000


@pytest.mark.slow
def test_half_an_hour_is_transcribed_without_gaps_repeats_or_growth(build: Build, say: Say) -> None:
    stream, random = TranscriptStream(build(), TranscriptionSettings("ctc"), 8000), Random(0)
    spoken, segments, sizes = [], [], []
    for _ in range(60):
        words = random.choices(["one", "two", "three", "four"], k=72)
        pauses = [0.5 if random.random() < 0.02 else 0.15 for _ in words]  # often none for 20 s
        segments += stream.push(say(" ".join(words), pauses, 0.0))
        sizes.append(size_of(stream.state_dict()))
        spoken += words
    segments += stream.finish()
    assert text_of(segments).split() == spoken
    assert sum(b.start == a.end for a, b in pairwise(segments)) > 20  # where speech was cut
    assert max(sizes) < 8000 * 4 * (20 + 2 + 1) + 8 * 2000  # samples, and a number for each short frame


def size_of(state: Any) -> int:
    """Return the bytes of all tensors and texts."""
    if isinstance(state, Tensor):
        return state.untyped_storage().nbytes()
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(map(size_of, values))


def test_the_partial_text_is_that_of_the_open_segment(build: Build, say: Say) -> None:
    stream = TranscriptStream(build(), TranscriptionSettings("ctc"), 8000)
    assert stream.push(torch.zeros(4000)) == []
    assert stream.partial() == ""
    stream.push(say("one two three", 0.12, 0.3))
    assert stream.partial() == "one two three"
    stream.push(say("four", 0.12, 0.0))
    assert stream.partial() == "one two three four"
    assert text_of(stream.push(torch.zeros(8000))) == "one two three four"
    assert stream.partial() == ""


def test_the_partial_text_changes_nothing(build: Build, say: Say) -> None:
    waveform, segments = say(TEXT, 0.12), []
    stream = TranscriptStream(build("turing_improved"), FAST, 8000)
    for block in waveform.split(4000):
        segments += stream.push(block)
        stream.partial()
    assert segments + stream.finish() == transcribe(
        TranscriptStream(build("turing_improved"), FAST, 8000), waveform, []
    )


def test_a_finished_stream_can_be_reused(build: Build, say: Say) -> None:
    stream, waveform = TranscriptStream(build("turing_improved"), CARRIED, 8000), say(TEXT, PAUSES)
    assert transcribe(stream, waveform, []) == transcribe(stream, waveform, [])


def test_nan_samples_are_refused_and_the_stream_is_unchanged(build: Build, say: Say) -> None:
    stream = TranscriptStream(build(), FAST, 8000)
    stream.push(say("one two", 0.12))
    broken = torch.zeros(8000)
    broken[4000] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinite at 1\.820 s"):
        stream.push(broken)
    assert text_of(stream.finish()) == "one two"


def test_the_state_of_another_stream_is_refused(build: Build, tmp_path: Path) -> None:
    stream = TranscriptStream(build("turing_improved"), FAST, 8000)
    stream.save(tmp_path / "session")
    with pytest.raises(ValueError, match="a stream at 8000 Hz, this one is at 16000"):
        TranscriptStream(build("turing_improved"), FAST, 16000).load_state_dict(stream.state_dict())
    with pytest.raises(ValueError, match=r"other settings \(settings\.sample_rate 8000, here 16000\)"):
        TranscriptStream(build("turing_improved"), FAST, 16000).load(tmp_path / "session")
    with pytest.raises(ValueError, match=r"the saved state has \S+ of shape .*continue with the same memory"):
        TranscriptStream(build(), FAST, 8000).load_state_dict(stream.state_dict())
    with pytest.raises(ValueError, match=r"of another model .*\(config\.memory"):
        TranscriptStream(build(), FAST, 8000).load(tmp_path / "session")
    with pytest.raises(ValueError, match=r"\(settings\.transcription\.carry_memory False, here True\)"):
        TranscriptStream(build("turing_improved"), replace(FAST, carry_memory=True), 8000).load(tmp_path / "session")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(2, 5), r"mono samples in one dimension, got \(2, 5\): average the channels"),
        (torch.zeros(5, dtype=torch.uint8), r"floating point, int16 or int32, got torch\.uint8"),
        (torch.tensor([0.0, torch.inf]), "NaN or infinite at sample 1"),
    ],
)
def test_input_that_is_not_a_waveform_is_refused(samples: Tensor, message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        as_waveform(samples)


def test_integers_are_scaled_to_one() -> None:
    assert as_waveform(torch.tensor([-32768, 16384], dtype=torch.int16)).tolist() == [-1.0, 0.5]


def test_the_transcriber_opens_streams_with_its_settings(build: Build, say: Say) -> None:
    waveform = say(TEXT, 0.12)
    streamed = transcribe(Transcriber(build(), FAST).stream(8000), waveform, [5000])
    assert streamed == transcribe(TranscriptStream(build(), FAST, 8000), waveform, [])
