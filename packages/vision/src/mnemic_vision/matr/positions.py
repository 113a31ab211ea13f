"""Sine positions of frames: by recency in the window, by window and frame in memory."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

OLDEST = 399  # rows of the official table: memory without content has the last one, and older windows are clamped to it


def sine_table(length: int, dim: int, device: torch.device | None = None) -> Float[Tensor, "length dim"]:
    """Return the sine positions of 0 to ``length - 1`` (arXiv:1706.03762, section 3.5): sine and cosine alternate."""
    frequency = 10_000.0 ** (-torch.arange(0, dim, 2, device=device) / dim)
    angle = torch.arange(length, device=device)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def recency_positions(window: int, dim: int, device: torch.device | None = None) -> Float[Tensor, "token dim"]:
    """Return the positions of the frames of a window, oldest first, and of the flag token: its row is 0."""
    return sine_table(window + 1, dim, device).flip(0)


def memory_positions(
    window_age: Int[Tensor, "*batch key"], frame_age: Int[Tensor, "*#batch key"], window: int, dim: int
) -> Float[Tensor, "*batch key dim"]:
    """Return the positions of frames in memory: half of the channels for the window, half for the frame in it.

    Args:
        window_age: age of the frame's window in windows, 0 for the current one; -1 where memory is empty.
        frame_age: later frames in its window.
        window: frames of a window.
        dim: width of tokens.
    """
    between = sine_table(OLDEST + 1, dim // 2, window_age.device)[age_rows(window_age)]
    inside = sine_table(window, dim // 2, window_age.device)[frame_age]
    return torch.cat([between, inside.expand_as(between)], dim=-1)


def age_rows(window_age: Int[Tensor, "*batch key"]) -> Int[Tensor, "*batch key"]:
    """Return the rows of the ages of windows in the table of positions; -1 stands for empty memory."""
    return torch.where(window_age < 0, OLDEST, window_age.clamp(max=OLDEST))
