"""Every mechanism of the catalogue, with each gradient policy that it offers, under every rule of the contract."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from mnemic_core import Mechanism, SegmentMemory, list_mechanisms
from mnemic_core.testing import CONTRACT, check_compiles, check_distributed


def variant(mechanism: Mechanism, detach: str) -> Callable[[], SegmentMemory]:
    return partial(mechanism.build_small, **({"detach": detach} if len(mechanism.detach) > 1 else {}))


RECURRENT = [mechanism for mechanism in list_mechanisms() if mechanism.is_recurrent]
VARIANTS = [
    pytest.param(variant(mechanism, detach), id=f"{mechanism.name}-{detach}")
    for mechanism in RECURRENT
    for detach in mechanism.detach
]
# Rule 8 is about inference, where policies do not differ: the fast tests prove it for one policy of each mechanism.
MATRIX = [
    pytest.param(
        variant(mechanism, detach),
        check,
        id=f"{mechanism.name}-{detach}-{rule}",
        marks=[pytest.mark.slow] if rule.startswith("8 ") and detach != mechanism.detach[0] else [],
    )
    for mechanism in RECURRENT
    for detach in mechanism.detach
    for rule, check in CONTRACT.items()
]


@pytest.mark.parametrize(("build", "rule"), MATRIX)
def test_mechanism_keeps_rule(build: Callable[[], SegmentMemory], rule: Callable[[SegmentMemory], None]) -> None:
    torch.manual_seed(0)
    rule(build())


@pytest.mark.slow
@pytest.mark.parametrize("build", VARIANTS)
def test_generated_code_keeps_rule_8(build: Callable[[], SegmentMemory]) -> None:
    check_compiles(build(), backend="inductor")


@pytest.mark.slow
@pytest.mark.parametrize("build", VARIANTS)
def test_two_processes_keep_rule_10(build: Callable[[], SegmentMemory]) -> None:
    check_distributed(build)
