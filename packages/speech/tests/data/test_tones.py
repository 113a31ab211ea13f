import numpy as np
import pytest
import torch

from mnemic_speech.data.tones import GERMAN_WORDS, WORDS, ToneWorld

RATE = 8000


def sound(world: ToneWorld, index: int) -> torch.Tensor:
    return world.clips()[index].read(RATE, np.random.default_rng())


def test_a_clip_lasts_as_long_as_it_says_and_stays_in_range() -> None:
    for clip in ToneWorld(num_clips=8, seed=5).clips():
        wave = clip.read(RATE, np.random.default_rng())
        assert len(wave) == pytest.approx(clip.seconds * RATE, abs=1)
        assert wave.abs().max() < 1
        assert set(clip.text.split()) <= set(WORDS)


def test_the_loudest_tones_are_those_of_the_key() -> None:
    world = ToneWorld(num_clips=40, min_words=1, max_words=1, noise=0.0)
    pairs = {"one": (697, 1209), "five": (770, 1336), "pound": (941, 1477)}
    spoken = {clip.text: index for index, clip in enumerate(world.clips())}
    for word, pair in pairs.items():
        power = torch.fft.rfft(sound(world, spoken[word]), n=RATE).abs()  # bins of 1 Hz
        low, high = int(power[600:1100].argmax()) + 600, int(power[1100:1600].argmax()) + 1100
        assert (low, high) == pytest.approx(pair, abs=3)


def test_the_same_numbers_give_the_same_sounds_and_other_seeds_others() -> None:
    assert torch.equal(sound(ToneWorld(seed=1), 3), sound(ToneWorld(seed=1), 3))
    assert [clip.text for clip in ToneWorld(seed=1).clips()] != [clip.text for clip in ToneWorld(seed=2).clips()]


def test_another_sample_rate_gives_the_same_duration() -> None:
    clip = ToneWorld().clips()[0]
    assert len(clip.read(16000, np.random.default_rng())) == 2 * len(sound(ToneWorld(), 0))


def test_a_world_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="1 <= min_words <= max_words, got 3 and 2"):
        ToneWorld(min_words=3, max_words=2)


def test_german_says_the_second_of_each_two_keys_first() -> None:
    world = ToneWorld(num_clips=20, max_words=5)
    names = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs"}
    names |= {"seven": "sieben", "eight": "acht", "nine": "neun", "zero": "null", "star": "stern", "pound": "raute"}
    for english, german in zip(world.clips(), world.clips("de"), strict=True):
        heard, written = english.text.split(), german.text.split()
        assert set(written) <= set(GERMAN_WORDS)
        assert written.count("und") == len(heard) // 2
        if len(heard) >= 3:
            assert written[:4] == [names[heard[1]], "und", names[heard[0]], written[3]]
        assert sorted(names[word] for word in heard) == sorted(word for word in written if word != "und")
