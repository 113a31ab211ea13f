"""Comparison of tensors with a message for people."""

import torch
from torch import Tensor

DEFAULT_TOLERANCE = 2e-5


def assert_close(actual: Tensor, expected: Tensor, *, tolerance: float = DEFAULT_TOLERANCE, name: str = "") -> None:
    """Raise ``AssertionError`` with size and index of the largest difference if two tensors are not close.

    Args:
        actual: computed values.
        expected: expected values; NaN equals NaN.
        tolerance: the allowed difference is ``tolerance * (1 + abs(expected))``, 0 for integers and booleans.
        name: for the message.
    """
    what = name or "tensor"
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    # In float64, where the comparison itself has no rounding error.
    found, wanted = (tensor.detach().cpu().to(torch.float64) for tensor in (actual, expected))
    allowed = tolerance if expected.is_floating_point() else 0.0
    if torch.allclose(found, wanted, rtol=allowed, atol=allowed, equal_nan=True):
        return
    # NaN counts as infinite, so that it is reported as the largest difference.
    difference = (found - wanted).abs().nan_to_num(nan=torch.inf).masked_fill(found == wanted, 0)
    place = tuple(int(index) for index in torch.unravel_index(difference.argmax(), difference.shape))
    raise AssertionError(
        f"{what}: maximum difference {difference.max():.3g} at {list(place)} "
        f"({found[place]:.8g}, expected {wanted[place]:.8g}), allowed {allowed:g}"
    )
