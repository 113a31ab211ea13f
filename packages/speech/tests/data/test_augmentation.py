import numpy as np
import pytest
import torch

from mnemic_speech.data.augmentation import Augmentation

WAVE = 0.1 * torch.sin(torch.arange(8000) / 5)


def changed(seed: int = 0, **options: object) -> torch.Tensor:
    return Augmentation(**options)(WAVE, np.random.default_rng(seed))


def test_by_default_nothing_changes() -> None:
    assert torch.equal(changed(), WAVE)


def test_equal_random_numbers_give_equal_changes() -> None:
    options = {"speeds": (0.9, 1.1), "gain_db": (-6.0, 6.0), "noise_prob": 0.5}
    assert torch.equal(changed(3, **options), changed(3, **options))
    assert not torch.equal(changed(3, **options)[:7000], changed(4, **options)[:7000])


def test_a_faster_clip_is_shorter_and_a_slower_one_longer() -> None:
    assert len(changed(speeds=(1.25,))) == 6400
    assert len(changed(speeds=(0.8,))) == 10000


@pytest.mark.parametrize("decibels", [-12.0, 12.0])
def test_gain_is_in_decibels(decibels: float) -> None:
    ratio = changed(gain_db=(decibels, decibels)).norm() / WAVE.norm()
    assert 20 * torch.log10(ratio).item() == pytest.approx(decibels, abs=1e-3)


@pytest.mark.parametrize("decibels", [0.0, 20.0])
def test_noise_has_the_wanted_ratio(decibels: float) -> None:
    noise = changed(noise_prob=1.0, noise_db=(decibels, decibels)) - WAVE
    assert 20 * torch.log10(WAVE.norm() / noise.norm()).item() == pytest.approx(decibels, abs=1e-2)


def test_noise_comes_as_often_as_asked_for_and_leaves_the_gain_alone() -> None:
    often = [not torch.equal(changed(seed, noise_prob=0.3), WAVE) for seed in range(100)]
    assert 15 < sum(often) < 45
    loud = {"gain_db": (-6.0, 6.0)}
    quiet, noisy = changed(1, **loud), changed(1, **loud, noise_prob=1.0, noise_db=(60.0, 60.0))
    assert (noisy - quiet).norm() < 0.01 * quiet.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speeds": ()}, "factors above 0"),
        ({"speeds": (0.0,)}, "factors above 0"),
        ({"noise_prob": 1.5}, "noise_prob must be between 0 and 1, got 1.5"),
        ({"gain_db": (1.0, -1.0)}, r"gain_db must be the lower and the higher value, got \[1.0, -1.0\]"),
    ],
)
def test_settings_without_meaning_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
