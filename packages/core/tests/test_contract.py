"""Every mechanism of the catalogue, with each gradient policy that it offers, under every rule of the contract."""

from collections.abc import Callable
from functools import partial

import pytest

from mnemic_core import Mechanism, ReadWriteMemory, list_mechanisms
from mnemic_core.testing import CONTRACT, check_compiles, check_distributed


def variant(mechanism: Mechanism, detach: str) -> Callable[[], ReadWriteMemory]:
    return partial(mechanism.build, **({"detach": detach} if len(mechanism.detach) > 1 else {}))


VARIANTS = [
    pytest.param(variant(mechanism, detach), id=f"{mechanism.name}-{detach}")
    for mechanism in list_mechanisms()
    for detach in mechanism.detach
]


@pytest.mark.parametrize("rule", CONTRACT.values(), ids=CONTRACT.keys())
@pytest.mark.parametrize("build", VARIANTS)
def test_mechanism_keeps_rule(build: Callable[[], ReadWriteMemory], rule: Callable[[ReadWriteMemory], None]) -> None:
    rule(build())


@pytest.mark.slow
@pytest.mark.parametrize("build", VARIANTS)
def test_generated_code_keeps_rule_8(build: Callable[[], ReadWriteMemory]) -> None:
    check_compiles(build(), backend="inductor")


@pytest.mark.slow
@pytest.mark.parametrize("build", VARIANTS)
def test_two_processes_keep_rule_10(build: Callable[[], ReadWriteMemory]) -> None:
    check_distributed(build)
