from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.audio import read_audio
from mnemic_speech.silence import Segment, SilenceSplitter

RATE = 8000
READ_SPEECH = Path(__file__).parents[4] / "shared/data/read_speech/audio"


def recording(*parts: tuple[str, float], noise: float = 0.002, level: float = 0.1) -> Tensor:
    """Return words (tones that swell and fade) and pauses of the given seconds in faint noise."""
    torch.manual_seed(0)
    pieces = []
    for kind, seconds in parts:
        time = torch.arange(round(seconds * RATE)) / RATE
        syllables = torch.sin(torch.pi * 4 * time).abs() if kind == "word" else torch.zeros_like(time)
        pieces.append(level * syllables * torch.sin(2 * torch.pi * 300 * time))
    waveform = torch.cat(pieces)
    return waveform + noise * torch.randn(len(waveform))


def split(waveform: Tensor, sizes: int | list[int] | None = None, **options: float) -> list[Segment]:
    splitter = SilenceSplitter(RATE, **options)
    pieces = waveform.split(len(waveform) if sizes is None else sizes)
    return [segment for piece in pieces for segment in splitter.push(piece)] + splitter.finish()


def times(segments: list[Segment]) -> list[tuple[float, float]]:
    return [(segment.start, segment.start + len(segment.samples) / RATE) for segment in segments]


TALK = [("pause", 1.0), ("word", 2.0), ("pause", 1.0), ("word", 0.5), ("pause", 0.1), ("word", 1.0), ("pause", 2.0)]


@pytest.mark.parametrize(("gain", "noise"), [(1.0, 0.0), (1.0, 0.002), (1 / 8, 0.002), (1 / 8, 0.0), (1 / 256, 0.0)])
def test_words_between_pauses_become_segments_at_any_level(gain: float, noise: float) -> None:
    found = times(split(recording(*TALK, noise=noise) * gain))
    expected = [(0.9, 3.1), (3.9, 5.7)]
    assert len(found) == len(expected)
    assert_close(torch.tensor(found), torch.tensor(expected), rtol=0, atol=0.07)


@pytest.mark.parametrize("sizes", [1777, 160, [0, 5, 20000, 35795]], ids=str)
def test_segments_do_not_depend_on_the_pieces(sizes: int | list[int]) -> None:
    waveform = recording(*TALK)[: 7 * RATE - 200]
    complete, pieces = split(waveform), split(waveform, sizes)
    assert times(complete) == times(pieces)
    assert all(torch.equal(one.samples, other.samples) for one, other in zip(complete, pieces, strict=True))


def test_a_segment_comes_as_soon_as_its_pause_is_long_enough() -> None:
    splitter = SilenceSplitter(RATE, min_silence=0.3)
    assert splitter.push(recording(*TALK)[: round(3.2 * RATE)]) == []
    assert len(splitter.push(recording(*TALK)[round(3.2 * RATE) : round(3.4 * RATE)])) == 1


def test_segments_are_pieces_of_the_recording_in_order_and_without_overlap() -> None:
    waveform = recording(*TALK * 4)
    position = 0
    for start, segment in ((round(segment.start * RATE), segment) for segment in split(waveform, max_seconds=1.5)):
        assert position <= start
        position = start + len(segment.samples)
        assert torch.equal(segment.samples, waveform[start:position])


def test_without_a_pause_the_cut_is_where_it_is_quietest() -> None:
    waveform = recording(("word", 4.125), ("pause", 0.1), ("word", 4.125), ("pause", 0.1), ("word", 4.0))
    segments = split(waveform, max_seconds=5.0)
    assert torch.equal(torch.cat([segment.samples for segment in segments]), waveform)
    assert all(len(segment.samples) <= 5.0 * RATE for segment in segments)
    assert_close([segment.start for segment in segments], [0.0, 4.175, 8.4], rtol=0, atol=0.06)


def test_one_long_tone_is_no_silence() -> None:
    waveform = 0.1 * torch.sin(torch.arange(12.0 * RATE))
    assert torch.equal(torch.cat([segment.samples for segment in split(waveform, max_seconds=5.0)]), waveform)


@pytest.mark.parametrize("level", [0.0, 0.0005, 0.002])
def test_silence_has_no_segment(level: float) -> None:
    assert split(level * torch.randn(10 * RATE) + 0.1) == []  # nor has the constant that a cheap recorder adds


def test_the_noise_between_muted_places_is_no_speech() -> None:
    waveform = recording(*TALK * 2)
    for first, last in ((0.2, 0.4), (3.3, 3.6), (6.2, 7.0), (8.0, 8.2)):
        waveform[round(first * RATE) : round(last * RATE)] = 0
    found = torch.tensor(times(split(waveform)))
    assert_close(found, torch.tensor(times(split(recording(*TALK * 2)))), rtol=0, atol=0.07)


def test_hum_below_the_voice_does_not_count() -> None:
    hum = 0.3 * torch.sin(2 * torch.pi * 55 * torch.arange(7.6 * RATE) / RATE)
    found = times(split(recording(*TALK) + hum))
    assert_close(torch.tensor(found), torch.tensor(times(split(recording(*TALK)))), rtol=0, atol=0.07)


def test_a_rising_noise_is_learned() -> None:
    quiet, noisy = recording(*TALK), recording(*TALK * 3, noise=0.02, level=0.5)
    found = times(split(torch.cat([quiet, noisy])))
    assert (torch.tensor(found)[-2:] - torch.tensor([[23.7, 25.9], [26.7, 28.5]])).abs().max() < 0.1


def test_the_open_segment_can_be_seen_before_it_ends() -> None:
    waveform, splitter = recording(*TALK), SilenceSplitter(RATE)
    splitter.push(waveform[: round(0.9 * RATE)])
    assert splitter.unfinished() is None
    splitter.push(waveform[round(0.9 * RATE) : 2 * RATE])
    begun, (complete,) = splitter.unfinished(), splitter.push(waveform[2 * RATE : round(3.6 * RATE)])
    assert begun is not None
    assert begun.start == complete.start
    assert torch.equal(begun.samples, complete.samples[: len(begun.samples)])
    assert begun.start * RATE + len(begun.samples) == pytest.approx(2 * RATE)
    assert splitter.unfinished() is None


def test_a_saved_splitter_continues() -> None:
    waveform = recording(*TALK)
    for place in (1000, 2 * RATE + 7, round(3.3 * RATE), 5 * RATE):
        first, second = SilenceSplitter(RATE, max_seconds=1.5), SilenceSplitter(RATE, max_seconds=1.5)
        before = first.push(waveform[:place])
        second.load_state_dict(first.state_dict())
        segments = before + second.push(waveform[place:]) + second.finish()
        assert times(segments) == times(split(waveform, max_seconds=1.5))


def test_memory_is_that_of_the_longest_segment() -> None:
    splitter, waveform = SilenceSplitter(RATE, max_seconds=2.0), recording(("pause", 8.0), ("word", 8.0))
    held = []
    for piece in waveform.split(400):
        splitter.push(piece)
        held.append(sum(tensor.numel() for tensor in splitter.state_dict().values()))
    assert max(held) < 2.2 * RATE
    assert max(held[20:150]) < 0.3 * RATE  # in silence it keeps the margin and the levels


@pytest.mark.skipif(not READ_SPEECH.is_dir(), reason="needs the shared recordings")
def test_a_book_is_cut_between_its_words() -> None:
    waveform = torch.cat([read_audio(path, RATE) for path in sorted(READ_SPEECH.glob("LJ*.flac"))[:8]])
    segments = split(waveform, max_seconds=10.0)
    kept = torch.zeros(len(waveform), dtype=torch.bool)
    for start, end in times(segments):
        kept[round(start * RATE) : round(end * RATE)] = True
    energy = waveform.square()
    assert energy[~kept].sum() < 1e-4 * energy.sum()
    levels = torch.stack([segment.samples[-400:].square().mean().sqrt() for segment in segments[:-1]])
    assert levels.median() < 0.1 * waveform.square().mean().sqrt()  # most cuts are in pauses
    assert len(segments) > 5


def test_settings_must_fit_together() -> None:
    with pytest.raises(ValueError, match=r"got 0\.5, 0\.3, 20\.0"):
        SilenceSplitter(RATE, margin=0.5)
