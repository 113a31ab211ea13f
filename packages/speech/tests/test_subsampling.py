import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_speech.subsampling import CONTEXT, FIELD, STRIDE, ConvSubsampling, subsampled_length

MELS, DIM = 9, 4


@pytest.fixture
def subsampling() -> ConvSubsampling:
    torch.manual_seed(0)
    return ConvSubsampling(MELS, DIM)


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_frame_covers_seven_feature_frames_four_apart(is_causal: bool) -> None:
    subsampling = ConvSubsampling(MELS, DIM, is_causal=is_causal)
    for layer in (0, 2):
        nn.init.constant_(subsampling.conv[layer].bias, 9.0)  # no channel is switched off
    features = torch.randn(1, 24, MELS, requires_grad=True)
    frames = subsampling(features)
    for index in range(frames.shape[1]):
        (gradient,) = torch.autograd.grad(frames[0, index].sum(), features, retain_graph=True)
        first = STRIDE * index - (CONTEXT if is_causal else 0)
        seen = gradient[0].abs().sum(-1).nonzero().flatten()
        assert (seen[0], seen[-1]) == (max(first, 0), first + FIELD - 1)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("time", range(30))
def test_lengths_count_the_frames_that_lie_completely_in_the_features(time: int, is_causal: bool) -> None:
    first = range(-CONTEXT if is_causal else 0, 30, STRIDE)
    expected = sum(start + FIELD <= time for start in first)
    assert subsampled_length(time, is_causal=is_causal) == expected
    subsampling = ConvSubsampling(MELS, DIM, is_causal=is_causal)
    assert subsampling.lengths(torch.tensor([time])).tolist() == [expected]
    assert subsampling(torch.zeros(1, time, MELS)).shape[1] == max(expected, 1)


def test_released_lengths_halve_a_mask_twice(subsampling: ConvSubsampling) -> None:
    for length in range(1, 40):
        mask = (torch.arange(40) < length)[:-2:2][:-2:2]
        released = subsampling.lengths(torch.tensor([length]), as_released=True).clamp(max=len(mask))
        assert released == mask.sum()


def test_causal_frames_are_those_of_features_after_four_zeros(subsampling: ConvSubsampling) -> None:
    causal = ConvSubsampling(MELS, DIM, is_causal=True)
    causal.load_state_dict(subsampling.state_dict())
    features = torch.randn(2, 16, MELS)
    frames = causal(features)
    assert_close(frames, subsampling(F.pad(features, (0, 0, CONTEXT, 0))))
    assert frames.shape[1] == 16 // STRIDE


@pytest.mark.parametrize("mels", range(FIELD, 16))
def test_half_precision_changes_the_frames_and_gradients_only_by_rounding(mels: int) -> None:
    torch.manual_seed(0)
    subsampling = ConvSubsampling(mels, DIM)
    features = torch.randn(2, 47, mels, requires_grad=True)
    frames = subsampling(features)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = subsampling(features).float()
    assert_close(rounded, frames, rtol=0, atol=0.02 * float(frames.detach().abs().max()))
    exact, found = (torch.autograd.grad(x.sum(), features)[0] for x in (frames, rounded))
    assert torch.dist(found, exact) < 0.3 * exact.norm()  # a few channels change sign by rounding


def test_too_few_mels_are_refused() -> None:
    with pytest.raises(ValueError, match="num_mels must be at least 7, which two convolutions need, got 6"):
        ConvSubsampling(6, DIM)
