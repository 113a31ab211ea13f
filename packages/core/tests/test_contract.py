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


@pytest.mark.parametrize("mechanism", RECURRENT, ids=lambda mechanism: mechanism.name)
@pytest.mark.parametrize("is_constant", [True, False], ids=["constant", "random"])
@torch.no_grad()
def test_a_long_stream_neither_explodes_nor_silences_a_memory(mechanism: Mechanism, is_constant: bool) -> None:
    """Outputs of five hundred tokens stay within a factor of 100 of those of the first hundred."""
    torch.manual_seed(0)
    memory = mechanism.build_small().eval()
    state, token = memory.init_state(1), torch.randn(1, 1, memory.dim)
    sizes = []
    for _ in range(100):
        x = token.expand(1, 5, -1) if is_constant else torch.randn(1, 5, memory.dim)
        y, state = memory(x, state)
        sizes.append(float(y.norm()))
    first = max(sizes[:20])  # the very first of a memory that reads the past alone is zero
    assert first / 100 < min(sizes[20:])
    assert max(sizes[20:]) < 100 * first


@pytest.mark.parametrize("mechanism", RECURRENT, ids=lambda mechanism: mechanism.name)
@torch.no_grad()
def test_a_state_in_half_precision_stays_finite(mechanism: Mechanism) -> None:
    torch.manual_seed(0)
    memory = mechanism.build_small().eval().half()
    state = memory.init_state(1, dtype=torch.float16)
    for _ in range(5):
        y, state = memory(torch.randn(1, 5, memory.dim, dtype=torch.float16), state)
        assert y.isfinite().all()
