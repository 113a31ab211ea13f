"""Every mechanism of the catalogue, with each gradient policy that it offers, under every rule of the contract."""

from functools import partial

import pytest

from mnemic_core import Mechanism, ReadWriteMemory, list_mechanisms
from mnemic_core.testing import CONTRACT, check_compiles, check_distributed


def build(mechanism: Mechanism, detach: str) -> ReadWriteMemory:
    return mechanism.build(**({"detach": detach} if len(mechanism.detach) > 1 else {}))


VARIANTS = [
    pytest.param(partial(build, mechanism, detach), id=f"{mechanism.name}-{detach}")
    for mechanism in list_mechanisms()
    for detach in mechanism.detach
]


@pytest.mark.parametrize("rule", CONTRACT.values(), ids=CONTRACT.keys())
@pytest.mark.parametrize("variant", VARIANTS)
def test_mechanism_keeps_rule(variant, rule) -> None:
    rule(variant())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_generated_code_keeps_rule_8(variant) -> None:
    check_compiles(variant(), backend="inductor")


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", list_mechanisms(), ids=lambda mechanism: mechanism.name)
def test_two_processes_keep_rule_10(mechanism: Mechanism) -> None:
    check_distributed(partial(mechanism.cls, **mechanism.small))
