import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mnemic_speech.convolution import ConvolutionModule, MaskedBatchNorm

DIM = 6


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def module() -> ConvolutionModule:
    return ConvolutionModule(DIM, kernel_size=5).eval()


def test_statistics_are_those_of_the_frames_that_count() -> None:
    masked, plain = MaskedBatchNorm(DIM), nn.BatchNorm1d(DIM)
    x, padding = torch.randn(3, DIM, 7), torch.rand(3, 7) > 0.5
    counted = x.transpose(1, 2)[~padding]
    expected = plain(counted)
    assert_close(masked(x, padding).transpose(1, 2)[~padding], expected)
    for name, tensor in plain.state_dict().items():
        assert_close(masked.state_dict()[name], tensor, msg=name)


def test_gradients_are_those_of_the_frames_that_count() -> None:
    masked, plain = MaskedBatchNorm(DIM), nn.BatchNorm1d(DIM)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    x = torch.randn(2, DIM, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(masked(x, padding).transpose(1, 2)[~padding].square().sum(), x)
    (expected,) = torch.autograd.grad(plain(x.transpose(1, 2)[~padding]).square().sum(), x)
    assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


def test_without_padding_it_is_batch_normalization_in_training_and_evaluation() -> None:
    masked, plain, x = MaskedBatchNorm(DIM), nn.BatchNorm1d(DIM), torch.randn(3, DIM, 7)
    nothing = torch.zeros(3, 7, dtype=torch.bool)
    assert_close(masked(x, nothing), plain(x))
    assert_close(masked.eval()(x, nothing), plain.eval()(x))


def test_a_batch_of_nothing_but_padding_stays_finite() -> None:
    norm = MaskedBatchNorm(DIM)
    assert norm(torch.zeros(1, DIM, 3), torch.ones(1, 3, dtype=torch.bool)).isfinite().all()
    assert all(tensor.isfinite().all() for tensor in norm.state_dict().values())


def test_padding_is_silence_to_the_convolution(module: ConvolutionModule) -> None:
    x = torch.randn(1, 6, DIM)
    padded = torch.cat([x, torch.full((1, 4, DIM), 9.0)], 1)
    padding = torch.arange(10)[None] >= 6
    assert_close(module(padded, padding)[0][:, :6], module(x)[0])
    assert not torch.allclose(module(padded)[0][:, :6], module(x)[0])


def test_a_causal_convolution_sees_nothing_to_come_and_continues_where_it_was() -> None:
    module, x = ConvolutionModule(DIM, kernel_size=5, is_causal=True).eval(), torch.randn(2, 9, DIM)
    complete, _ = module(x)
    assert_close(module(x[:, :4])[0], complete[:, :4])
    context, pieces = None, []
    for piece in x.split([1, 5, 3], 1):
        output, context = module(piece, None, context)
        pieces.append(output)
    assert_close(torch.cat(pieces, 1), complete)


def test_the_kernel_must_have_a_middle() -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd, so that a frame is in the middle, got 4"):
        ConvolutionModule(DIM, 4)
