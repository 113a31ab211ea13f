import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnemic_kit.help_pages import show_page
from mnemic_kit.quick_start import rare_collection, usual_collection


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A cache and a package of our own; the list grows with every page that is made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mnemic_sample").mkdir()
    (tmp_path / "mnemic_sample" / "task.py").write_text("lr = 1")
    monkeypatch.syspath_prepend(tmp_path)
    return []


def page(made: list[int], program: str = "mnemic-sample fit") -> None:
    def make() -> None:
        made.append(1)
        sys.stdout.write(f"usage: page {len(made)}\n")
        sys.exit(0)

    show_page(program, make)


def test_a_page_is_made_once(made: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        page(made)
        assert capsys.readouterr().out == "usage: page 1\n"


def test_a_page_is_renewed_when_a_source_a_version_or_the_width_changes(
    made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(made)
    (tmp_path / "mnemic_sample" / "task.py").write_text("lr = 10")
    page(made)
    (tmp_path / "lightning-3.0.dist-info").mkdir()
    page(made)
    monkeypatch.setenv("COLUMNS", "77")
    page(made)
    page(made, "mnemic-sample validate")
    assert len(made) == 5


def test_a_page_that_fails_is_not_kept(made: list[int], tmp_path: Path) -> None:
    def fail() -> None:
        sys.exit(2)

    with pytest.raises(SystemExit, match="2"):
        show_page("mnemic-sample fit", fail)
    assert not (tmp_path / "cache").exists()


def test_a_kept_page_of_training_needs_no_torch(tmp_path: Path) -> None:
    lines = ["import sys", "from mnemic_kit.cli import Program", "from mnemic_kit.help_pages import show_page"]
    lines += ["program = Program('mnemic-sample', '', {'fit': ''}, 'absent.commands')"]
    lines += ["show_page('mnemic-sample fit', lambda: print('usage'))", "program.run('fit', ['--help'])"]
    code = "\n".join([*lines, "print('torch' in sys.modules)"])
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert shown.stdout == "usage\nusage\nFalse\n"


def test_garbage_is_looked_for_rarely_only_in_the_block() -> None:
    usual = gc.get_threshold()
    with rare_collection():
        assert gc.get_threshold()[0] == 100_000
        usual_collection()
        assert gc.get_threshold() == usual
    assert gc.get_threshold() == usual
