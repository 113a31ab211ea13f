import pytest
import torch

from mnemic_core.buffers import RelativeAttention, relative_sinusoids

DIM, HEADS = 8, 2


@pytest.mark.parametrize("clamp", [None, 1, 4])
@pytest.mark.parametrize("keys", [1, 2, 5, 6])
def test_mirrored_distances_are_projected_as_one_by_one(keys: int, clamp: int | None) -> None:
    layer = RelativeAttention(DIM, HEADS, clamp=clamp).double()
    distance = torch.arange(keys - 1, -1, -1, dtype=torch.float64).clamp(max=clamp or keys)
    expected = layer.position(relative_sinusoids(distance, DIM))
    projected = layer._positions(keys, distance)
    assert projected.shape == (HEADS, keys + 1, DIM // HEADS)  # one row more, for the shift
    torch.testing.assert_close(projected[:, :-1].transpose(0, 1).flatten(1), expected)


def test_mirrored_distances_give_the_weights_the_same_gradient() -> None:
    layer, distance = RelativeAttention(DIM, HEADS).double(), torch.arange(5, -1, -1, dtype=torch.float64)
    factor = torch.randn(6, DIM, dtype=torch.float64)
    expected = torch.autograd.grad(
        (layer.position(relative_sinusoids(distance, DIM)) * factor).sum(), layer.position.weight
    )
    rows = layer._positions(6, distance)[:, :-1].transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.autograd.grad((rows * factor).sum(), layer.position.weight), expected)


def test_far_distances_are_as_exact_as_their_angles_in_single_precision() -> None:
    layer = RelativeAttention(DIM, HEADS)
    far = layer._positions(1728, torch.zeros(1))[:, :-1].double()
    exact = layer.double()._positions(1728, torch.zeros(1, dtype=torch.float64))[:, :-1]
    assert (far - exact).abs().max() < 1e-4  # 1727 radians are known to 6e-5
