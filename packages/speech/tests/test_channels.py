from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mnemic_speech.audio import find_channels, read_audio, stream_audio
from mnemic_speech.channel_selection import Channels
from mnemic_speech.channels import are_separate

RATE = 8000
Signal = NDArray[np.float64]


def speech(*spans: tuple[float, float], seconds: float = 4.0, seed: int = 0) -> Signal:
    random = np.random.default_rng(seed)
    signal = random.normal(0, 0.0005, round(seconds * RATE))
    for start, end in spans:
        first, last = round(start * RATE), round(end * RATE)
        signal[first:last] += random.normal(0, 0.1, last - first)
    return signal


LEFT, RIGHT = speech((0.5, 1.0), (1.2, 1.7), (2.0, 2.5)), speech((0.6, 1.25), (1.6, 2.1), (3.0, 3.5), seed=1)
TURNS = speech((0.5, 1.5)), speech((2.0, 3.0), seed=1)


def room(voices: tuple[Signal, Signal]) -> Signal:
    """Two microphones, each nearer to one of the voices, which reach them at different times."""
    left, right = voices
    return np.stack([left + 0.5 * np.roll(right, 7), right + 0.5 * np.roll(left, 7)], 1)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.stack([LEFT, RIGHT], 1), True),
        (np.stack(TURNS, 1), True),
        (np.stack([LEFT + 0.01 * RIGHT, RIGHT + 0.01 * LEFT], 1), True),  # cross-talk
        (np.stack([LEFT, 0.3 * LEFT], 1), False),
        (np.stack([LEFT, -LEFT], 1), False),
        (np.stack([LEFT, 0.001 * RIGHT], 1), False),
        (np.stack([LEFT, np.zeros_like(LEFT)], 1), False),
        (np.stack([LEFT, speech()], 1), False),
        (room((LEFT, RIGHT)), False),
        (room(TURNS), False),
        (LEFT[:, None], False),
        (np.stack([LEFT, RIGHT, LEFT], 1), False),
        (np.zeros((0, 2)), False),
    ],
    ids=[
        *("call", "turns", "cross-talk", "stereo", "opposite", "silent side", "mute side", "noisy side", "room"),
        *("turns in a room", "mono", "three", "empty"),
    ],
)
def test_a_call_has_a_speaker_in_each_channel(samples: Signal, expected: bool) -> None:
    blocks = np.array_split(samples.astype(np.float32), 7)
    assert are_separate(iter(blocks), RATE) is expected  # a list is checked as one shape


@pytest.mark.parametrize(
    ("channels", "expected"), [("auto", (1, 2)), ("each", (1, 2)), ("mix", (None,)), (2, (2,)), (1, (1,))]
)
def test_channels_are_chosen_by_the_recording_or_the_caller(
    tmp_path: Path, channels: Channels, expected: tuple[int | None, ...]
) -> None:
    call = np.stack(TURNS, 1)
    soundfile.write(tmp_path / "call.flac", call, RATE)
    soundfile.write(tmp_path / "mono.flac", call.mean(1), RATE)
    assert find_channels(tmp_path / "call.flac", channels) == expected
    if channels != 2:
        assert find_channels(tmp_path / "mono.flac", channels) == ((1,) if channels == 1 else (None,))


def test_a_channel_is_read_alone(tmp_path: Path) -> None:
    call = np.stack(TURNS, 1).astype(np.float32)
    soundfile.write(tmp_path / "call.wav", call, RATE, subtype="FLOAT")
    for channel in (1, 2):
        found = read_audio(tmp_path / "call.wav", RATE, channel=channel).numpy()
        np.testing.assert_allclose(found, call[:, channel - 1], atol=1e-6)
        parts = [block.numpy() for block in stream_audio(tmp_path / "call.wav", RATE, channel=channel)]
        np.testing.assert_array_equal(np.concatenate(parts), found)


@pytest.mark.parametrize("read", [find_channels, lambda path, n: read_audio(path, RATE, channel=n)])
@pytest.mark.parametrize("channel", [0, 3, -1])
def test_a_channel_that_is_not_there_is_refused(
    tmp_path: Path, read: Callable[[Path, int], object], channel: int
) -> None:
    soundfile.write(tmp_path / "call.wav", np.stack(TURNS, 1), RATE)
    with pytest.raises(ValueError, match=f"call.wav has 2 channels, numbered from 1; there is no channel {channel}"):
        read(tmp_path / "call.wav", channel)
