"""Helpers of the tests of command lines: mistakes in one line, and configs parsed with nothing built."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

# Of fit, so that the mistake is the last line.
QUIET = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


def mistake(main: Callable[[list[str]], object], arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the last line that a program writes to standard error before it ends with exit code 2."""
    with pytest.raises(SystemExit) as exit_request:
        main([*arguments])
    assert exit_request.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def parse_config(main: Callable[[str, list[str]], Any], cli: type, name: str) -> Any:
    """Return the command line object of a training with its config parsed and nothing built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "instantiate_classes", lambda self: None)
        patch.setattr(cli, "_run_subcommand", lambda self, command: None)
        return main("fit", ["--config", name])
