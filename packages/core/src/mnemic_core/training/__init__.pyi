"""Drivers that unroll a segment module over a sequence and decide how far gradients go."""

from .bptt import directional_derivative, gradient_reach
from .replay import replay_backward
from .segments import join_segments, run_in_segments, run_segments, split_segments

__all__ = [
    "directional_derivative",
    "gradient_reach",
    "join_segments",
    "replay_backward",
    "run_in_segments",
    "run_segments",
    "split_segments",
]
