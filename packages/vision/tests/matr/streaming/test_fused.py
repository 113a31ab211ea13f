import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mnemic_vision.matr.layers import Attention
from mnemic_vision.matr.streaming.fused import LARGE, FusedLinear, FusedSelfAttention


@pytest.mark.parametrize("widths", [(512, 768), (512, 300), (8, 5)])
@pytest.mark.parametrize("shape", [(3, 7), (1,), (2, 1, 4)])
@torch.no_grad()
def test_fused_layers_equal_single_ones(widths: tuple[int, ...], shape: tuple[int, ...]) -> None:
    layers = [nn.Linear(512, width) for width in widths]
    fused, x = FusedLinear(layers), torch.randn(*shape, 512)
    assert (fused.blocks is not None) == (512 * sum(widths) >= LARGE and sum(widths) % 256 == 0)
    assert_close(fused(x), torch.cat([layer(x) for layer in layers], dim=-1), atol=1e-5, rtol=1e-4)
    assert_close(fused.without_bias(x) + fused.bias, fused(x))


@torch.no_grad()
def test_fused_self_attention_equals_attention_with_positions() -> None:
    attention, position, x = Attention(8, 2), torch.randn(5, 8), torch.randn(3, 5, 8)
    expected = attention(x + position, *attention.located_keys_and_values(x, position))
    assert_close(FusedSelfAttention(attention, position)(x), expected, atol=1e-5, rtol=1e-4)
