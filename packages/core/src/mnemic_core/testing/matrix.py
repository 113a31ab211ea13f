"""The contract matrix of all mechanisms with a state and all rules."""

from collections.abc import Mapping

import torch

from mnemic_core.catalogue import find_mechanism, list_mechanisms
from mnemic_core.markdown import markdown_table
from mnemic_core.testing import CONTRACT

CONTRACT_FAMILIES = (
    "Check mechanisms that carry a state, with each of their gradient policies, against every rule of the contract."
)
KEPT = "kept"


def check_mechanism(name: str) -> dict[str, str]:
    """Return for each rule ``kept`` or how a mechanism that carries a state breaks it."""
    mechanism = find_mechanism(name)
    row = dict.fromkeys(CONTRACT, KEPT)
    for rule, check in CONTRACT.items():
        for detach in mechanism.detach:
            torch.manual_seed(0)
            try:
                check(mechanism.build_small(**({"detach": detach} if len(mechanism.detach) > 1 else {})))
            except AssertionError as error:
                row[rule] = f"fails with detach={detach}: {' '.join(str(error).split())}"
    return row


def stated_matrix() -> dict[str, dict[str, str]]:
    """Return the matrix as the tests prove it, without running anything."""
    return {each.name: dict.fromkeys(CONTRACT, KEPT) for each in list_mechanisms() if each.is_recurrent}


def matrix_table(results: Mapping[str, Mapping[str, str]]) -> str:
    """Return the matrix as a Markdown table."""
    rows = [[f"`{name}`", *(cell.split(" with")[0] for cell in row.values())] for name, row in results.items()]
    return markdown_table(["mechanism", *CONTRACT], rows)
