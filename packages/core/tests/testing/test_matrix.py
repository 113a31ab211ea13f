from collections.abc import Mapping

import pytest

from mnemic_core.slots.exponential_memory import ExponentialMemory
from mnemic_core.testing import CONTRACT
from mnemic_core.testing.__main__ import main
from mnemic_core.testing.matrix import matrix_table, stated_matrix


def test_the_command_prints_the_stated_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["none", "exponential"])
    stated: Mapping[str, Mapping[str, str]] = stated_matrix()
    assert capsys.readouterr().out.strip() == matrix_table({name: stated[name] for name in ("none", "exponential")})


def test_a_broken_rule_is_named_and_ends_in_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExponentialMemory, "read", lambda self, query, state: query + query.mean(0))
    with pytest.raises(SystemExit, match="1"):
        main(["exponential"])
    printed = capsys.readouterr().out
    assert "exponential, rule 3 batch independence: fails with detach=" in printed


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["elephant"])
    assert "no mechanism with a state is called elephant" in capsys.readouterr().err


def test_the_stated_matrix_has_every_rule_for_every_mechanism() -> None:
    assert all(row.keys() == CONTRACT.keys() for row in stated_matrix().values())
