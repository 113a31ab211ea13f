"""The contract matrix: every mechanism with a state against every rule."""

from collections.abc import Mapping

import torch

from mnemic_core.catalogue import find_mechanism, list_mechanisms
from mnemic_core.markdown import markdown_table
from mnemic_core.testing import CONTRACT

CONTRACT_FAMILIES = (
    "Check every mechanism that carries a state, with each of its gradient policies, against every rule of the "
    "contract. Layers, stores and selectors carry no state, so the contract says nothing of them."
)
KEPT = "kept"


def check_mechanism(name: str) -> dict[str, str]:
    """Return for each rule ``kept``, the reason why it cannot be kept, or how it fails.

    Args:
        name: a mechanism of the catalogue that carries a state.
    """
    mechanism = find_mechanism(name)
    row = {}
    for rule, check in CONTRACT.items():
        reason = mechanism.exceptions.get(rule.split()[0])
        row[rule] = f"not kept: {reason}" if reason else KEPT
        for detach in () if reason else mechanism.detach:
            torch.manual_seed(0)
            try:
                check(mechanism.build_small(**({"detach": detach} if len(mechanism.detach) > 1 else {})))
            except AssertionError as error:
                row[rule] = f"fails with detach={detach}: {' '.join(str(error).split())}"
    return row


def stated_matrix() -> dict[str, dict[str, str]]:
    """Return the matrix as the catalogue states it and the tests prove it, without running anything."""
    return {
        mechanism.name: {
            rule: f"not kept: {mechanism.exceptions[number]}" if number in mechanism.exceptions else KEPT
            for rule in CONTRACT
            for number in [rule.split()[0]]
        }
        for mechanism in list_mechanisms()
        if mechanism.is_recurrent
    }


def matrix_table(results: Mapping[str, Mapping[str, str]]) -> str:
    """Return the matrix as a Markdown table."""
    rows = [[f"`{name}`", *(cell.split(" with")[0] for cell in row.values())] for name, row in results.items()]
    return markdown_table(["mechanism", *CONTRACT], rows)
