"""Running memories over sequences with truncated back-propagation or memory replay."""

from .bptt import directional_derivative as directional_derivative
from .bptt import gradient_reach as gradient_reach
from .replay import replay_backward as replay_backward
from .segments import join_segments as join_segments
from .segments import run_in_segments as run_in_segments
from .segments import run_segments as run_segments
from .segments import split_segments as split_segments
