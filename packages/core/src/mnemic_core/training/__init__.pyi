"""Running memories over sequences with truncated back-propagation or memory replay."""

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
