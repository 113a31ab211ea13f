"""Fixed positions of patches, and moving values between patches and images."""

import torch
from jaxtyping import Float
from torch import Tensor


def grid_positions(dim: int, grid: int) -> Float[Tensor, "token dim"]:
    """Return sines and cosines of column and row of each patch, after a row of zeros for the class token.

    As in masked autoencoders (arXiv 2111.06377): half of the channels encode the column, the others the row, with
    frequencies from 1 to 1/10000.

    Args:
        dim: number of channels, a multiple of 4.
        grid: patches in a row.
    """
    quarter = dim // 4
    frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * frequency  # place quarter
    line = torch.cat([angle.sin(), angle.cos()], dim=1)  # place half
    column = line.expand(grid, grid, -1)
    row = line[:, None].expand(grid, grid, -1)
    patches = torch.cat([column, row], dim=-1).flatten(0, 1).float()
    return torch.cat([torch.zeros(1, dim), patches])


def to_patches(images: Float[Tensor, "*batch channel height width"], size: int) -> Float[Tensor, "*batch patch value"]:
    """Return the pixels of square patches, row by row; within a patch by row, column and channel."""
    split = images.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))  # channel down row across column
    *batch, _channel, _down, _row, _across, _column = range(split.dim())
    ordered = split.permute(*batch, _down, _across, _row, _column, _channel)
    patches: Tensor = ordered.flatten(-3).flatten(-3, -2)
    return patches


def to_images(
    patches: Float[Tensor, "*batch patch value"], size: int, channels: int
) -> Float[Tensor, "*batch channel height width"]:
    """Undo `to_patches`."""
    grid = round(patches.shape[-2] ** 0.5)
    split = patches.unflatten(-2, (grid, grid)).unflatten(-1, (size, size, channels))
    *batch, down, across, row, column, channel = range(split.dim())
    ordered = split.permute(*batch, channel, down, row, across, column)
    images: Tensor = ordered.flatten(-4, -3).flatten(-2)
    return images
