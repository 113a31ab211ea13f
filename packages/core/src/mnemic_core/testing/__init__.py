"""Shared test code: the contract of a memory as checks.

Each check takes a module, raises ``AssertionError`` with the broken rule, and needs no test framework.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mnemic_core.memory import SegmentMemory
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_core.testing.behavior import (
    check_batch_independence,
    check_determinism,
    check_padding_neutrality,
    check_reset_equality,
    check_round_trip,
    check_streaming_equality,
)
from mnemic_core.testing.comparison import assert_close
from mnemic_core.testing.deployment import check_compiles, check_distributed, check_exports, check_state_outside
from mnemic_core.testing.gradients import check_gradient_policy, check_replay_equality

CONTRACT: Mapping[str, Callable[[SegmentMemory[Any]], None]] = MappingProxyType(
    {
        "1 streaming equality": check_streaming_equality,
        "2 reset equality": check_reset_equality,
        "3 batch independence": check_batch_independence,
        "4 padding neutrality": check_padding_neutrality,
        "5 gradient policy": check_gradient_policy,
        "6 replay equality": check_replay_equality,
        "7 round trip": check_round_trip,
        "8 one compiled graph": check_compiles,
        "8 export": check_exports,
        "9 determinism": check_determinism,
        "10 state outside the module": check_state_outside,
    }
)
"""The rules of the memory contract by number and name."""

POLICY_RULES = tuple(
    (detach, rule) for detach in ("never", "stored") for rule in CONTRACT if detach == "never" or rule[:2] != "8 "
)
"""Gradient policies and rules to test for further settings of a mechanism.

Rule 8 is about inference, where policies do not differ, so it is tested for one.
"""

__all__ = [
    "CONTRACT",
    "POLICY_RULES",
    "assert_close",
    "check_batch_independence",
    "check_compiles",
    "check_determinism",
    "check_distributed",
    "check_exports",
    "check_gradient_policy",
    "check_padding_neutrality",
    "check_replay_equality",
    "check_reset_equality",
    "check_round_trip",
    "check_state_outside",
    "check_streaming_equality",
    "unchecked_annotations",
]
