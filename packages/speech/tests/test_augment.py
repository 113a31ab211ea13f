import pytest
import torch
import torchaudio
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_speech.augment import SpecAugment, add_noise, change_gain, change_speed, warp_time


def stretched(features: Tensor, frames: int) -> Tensor:
    if frames == 0:
        return features[:0]
    size = (frames, features.shape[1])
    return F.interpolate(features[None, None], size, mode="bicubic", align_corners=False)[0, 0]


@pytest.mark.parametrize(
    ("length", "center", "target"), [(20, 8, 11), (20, 8, 5), (20, 1, 3), (20, 19, 15), (13, 6, 6), (13, 13, 13)]
)
def test_warping_stretches_both_sides_as_bicubic_interpolation(length: int, center: int, target: int) -> None:
    features = torch.randn(1, 20, 4)
    item = features[0, :length]
    sides = [stretched(item[:center], target), stretched(item[center:], length - target), features[0, length:]]
    numbers = [torch.tensor([number]) for number in (length, center, target)]
    assert_close(warp_time(features, *numbers)[0], torch.cat(sides), rtol=1e-4, atol=1e-5)


def masked_parts(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masked mels and frames of one item; a fully masked row or column belongs to the other axis."""
    return mask.all(0), mask.all(1)


def test_masks_have_the_widths_of_the_paper() -> None:
    torch.manual_seed(0)
    augment = SpecAugment(time_warp=0, num_frequency_masks=1, frequency_width=6, num_time_masks=1, time_share=0.1)
    lengths = torch.tensor([60, 25, 9]).repeat(200)
    mask = augment(torch.ones(600, 60, 20), lengths) == 0
    widths, stretches, starts = {60: set(), 25: set(), 9: set()}, {60: set(), 25: set(), 9: set()}, set()
    for item, length in zip(mask, lengths.tolist(), strict=True):
        mels, frames = masked_parts(item[:length])
        widths[length].add(int(mels.sum()))
        stretches[length].add(int(frames.sum()))
        starts |= {int(mels.int().argmax())} if mels.any() else set()
        assert mels.int().diff().abs().sum() <= 2  # one band
        assert not item[length:].any()
    assert all(found == set(range(6)) for found in widths.values())
    assert stretches == {60: set(range(6)), 25: {0, 1}, 9: {0}}
    assert {0, 19} <= starts


def test_a_mask_in_time_is_no_wider_than_given() -> None:
    torch.manual_seed(0)
    augment = SpecAugment(0, 0, 0, num_time_masks=1, time_share=1.0, time_width=5)
    mask = augment(torch.ones(400, 60, 2), torch.tensor([60, 3]).repeat(200)) == 0
    widths = mask.all(2).sum(1).view(200, 2)
    assert set(widths[:, 0].tolist()) == set(range(5))
    assert set(widths[:, 1].tolist()) == {0, 1, 2}


def test_every_item_is_treated_by_its_own_length() -> None:
    augment, features = SpecAugment(time_warp=3), torch.randn(2, 30, 40)
    features[1, 12:] = torch.nan
    augmented = augment(features, torch.tensor([30, 12]))
    assert augmented[0].isfinite().all()
    assert augmented[1, :12].isfinite().all()
    assert augmented[1, 12:].isnan().all()


def test_the_seed_decides_and_evaluation_changes_nothing() -> None:
    augment, features, lengths = SpecAugment(), torch.randn(2, 50, 80), torch.tensor([50, 7])
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(features, lengths))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert augment.eval()(features, lengths) is features


def test_warped_frames_move_by_no_more_than_the_window() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(40.0)[None, :, None].expand(200, 40, 3)
    warped = SpecAugment(5, 0, 0, 0, 0.0)(ramp, torch.full((200,), 40))
    moved = (warped - ramp)[:, :, 0].abs().amax(1)
    assert 3 < moved.max() <= 5.5
    assert moved.min() < 1


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="time_share must be between 0 and 1, got 2"):
        SpecAugment(time_share=2.0)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_equals_torchaudio(factor: float) -> None:
    waveform = torch.rand(3000, dtype=torch.float64) * 2 - 1
    expected, _ = torchaudio.functional.speed(waveform, 16000, factor)
    assert_close(change_speed(waveform.float(), factor), expected.float(), rtol=0, atol=1e-6)


def test_any_speed_scales_the_length() -> None:
    assert len(change_speed(torch.zeros(10000), 0.937)) == 10673
    with pytest.raises(ValueError, match="got 0"):
        change_speed(torch.zeros(10), 0.0)


def test_gain_is_in_decibels() -> None:
    assert_close(change_gain(torch.tensor([0.1, -0.2]), 20.0), torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize("samples", [300, 1000, 5000])
def test_noise_has_the_requested_ratio(samples: int) -> None:
    waveform, noise = torch.randn(1000), torch.randn(samples)
    added = add_noise(waveform, noise, 5.0) - waveform
    assert_close(10 * (waveform.square().sum() / added.square().sum()).log10(), torch.tensor(5.0))
    assert_close(added / added[0], (noise.repeat(4)[:1000] / noise[0]), rtol=1e-3, atol=1e-3)


def test_silence_stays_silent_and_silent_noise_is_refused() -> None:
    assert not add_noise(torch.zeros(5), torch.ones(3), 0.0).any()
    for noise in (torch.zeros(3), torch.zeros(0)):
        with pytest.raises(ValueError, match="silent"):
            add_noise(torch.ones(5), noise, 0.0)
