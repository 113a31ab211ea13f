"""Drivers that unroll a segment module over a sequence and decide how far gradients go."""

from mnemic_core.training.bptt import directional_derivative, gradient_reach
from mnemic_core.training.replay import replay_backward
from mnemic_core.training.segments import join_segments, run_segments, split_segments

__all__ = [
    "directional_derivative",
    "gradient_reach",
    "join_segments",
    "replay_backward",
    "run_segments",
    "split_segments",
]
