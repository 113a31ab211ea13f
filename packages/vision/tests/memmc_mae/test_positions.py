"""Positions, and patches of images."""

import torch
from torch.testing import assert_close

from mnemic_vision.memmc_mae.positions import grid_positions, to_images, to_patches


def test_patches_go_by_row_and_hold_row_column_channel() -> None:
    image = torch.arange(2 * 4 * 6.0).view(2, 4, 6)
    patches = to_patches(image, 2)
    assert patches.shape == (6, 8)
    assert torch.equal(patches[4], image[:, 2:4, 2:4].permute(1, 2, 0).flatten())


def test_images_undo_patches() -> None:
    images = torch.rand(2, 5, 3, 12, 12)
    assert torch.equal(to_images(to_patches(images, 4), 4, 3), images)


def test_positions_are_sines_of_the_column_then_of_the_row() -> None:
    dim, grid = 8, 3
    positions = grid_positions(dim, grid)
    place = torch.tensor([2.0, 1.0])  # column and row of patch 5
    frequency = torch.tensor([1.0, 10_000**-0.5])
    naive = torch.cat([part for axis in place for part in ((axis * frequency).sin(), (axis * frequency).cos())])
    assert_close(positions[1 + 5], naive)
    assert not positions[0].any()
