"""The loss, against the definition."""

import torch
from torch.testing import assert_close

from mnemic_vision.memmc_mae import ReconstructionLoss


def losses(visible_weight: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(2, 2, 6, 4, generator=generator)
    masked = torch.rand(2, 6, generator=generator) < 0.5
    return ReconstructionLoss(visible_weight)(predicted, target, masked), (predicted - target).square(), masked


def test_without_weight_visible_patches_do_not_count() -> None:
    loss, error, masked = losses(0.0)
    assert_close(loss, error[masked].mean())


def test_equal_weight_is_the_mean_of_all_patches() -> None:
    loss, error, _ = losses(1.0)
    assert_close(loss, error.mean())


def test_weight_of_half_counts_visible_patches_half() -> None:
    loss, error, masked = losses(0.5)
    total = error[masked].mean(-1).sum() + 0.5 * error[~masked].mean(-1).sum()
    assert_close(loss, total / (masked.sum() + 0.5 * (~masked).sum()))
