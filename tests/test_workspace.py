"""A new app is found by everything that goes over the members, and no list names it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import find_programs

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CLI = """
from mnemic_kit.cli import Program

PROGRAM = Program("mnemic-newcomer", "Greet.", {"greet": "say hello"}, "mnemic_newcomer.commands")
main = PROGRAM.main
"""
GREET = '''
def greet(name: str, /, times: int = 1) -> None:
    """Say hello.

    Args:
        name: of whom.
        times: how often.
    """
    import sys

    sys.stdout.write(f"hello {name}\\n" * times)
'''
TEST = """
import pytest
from mnemic_newcomer.commands.greet import greet


def test_annotations_are_checked():
    with pytest.raises(TypeError):
        greet("you", times="often")
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the root's settings with the members of this workspace and a new app."""
    for name in ("pyproject.toml", "conftest.py", "tests/import_contracts.py", "tests/checked_calls.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "packages").symlink_to(ROOT / "packages")
    for app in (ROOT / "apps").iterdir():
        (tmp_path / "apps").mkdir(exist_ok=True)
        (tmp_path / "apps" / app.name).symlink_to(app)
    source = tmp_path / "apps/newcomer/src/mnemic_newcomer"
    (source / "commands").mkdir(parents=True)
    (tmp_path / "apps/newcomer/tests").mkdir()
    (tmp_path / "apps/newcomer/tests/test_greet.py").write_text(TEST)
    for name, text in {"__init__": "", "cli": CLI, "commands/__init__": "", "commands/greet": GREET}.items():
        (source / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(source.parent)
    return tmp_path


def run(workspace: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(workspace / "apps/newcomer/src")}
    return subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)


def test_its_program_is_found_and_runs(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = find_programs(workspace)
    assert programs.keys() == {*find_programs(ROOT), "mnemic-newcomer"}
    with pytest.raises(SystemExit, match="0"):
        programs["mnemic-newcomer"].main(["greet", "you", "--times", "2"])
    assert capsys.readouterr().out == "hello you\nhello you\n"


def test_the_import_contracts_hold_for_it(workspace: Path) -> None:
    assert run(workspace, BIN / "lint-imports").returncode == 0
    with (workspace / "apps/newcomer/src/mnemic_newcomer/commands/greet.py").open("a") as file:
        file.write("\n\nimport mnemic_track\n")
    broken = run(workspace, BIN / "lint-imports")
    assert broken.returncode == 1
    assert "mnemic_newcomer is not allowed to import mnemic_track" in broken.stdout


def test_its_tests_run_with_checked_annotations(workspace: Path) -> None:
    done = run(workspace, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "apps/newcomer")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_no_list_names_the_apps() -> None:
    names = {path.parent.name for path in ROOT.glob("apps/*/src/*/cli.py")} - {"mnemic_kit"}
    listing = [ROOT / "pyproject.toml", ROOT / "conftest.py", ROOT / ".ci/run", *ROOT.glob("tests/*.py")]
    texts = {path.name: path.read_text() for path in listing if path != Path(__file__)}
    assert {(name, file) for name in names for file, text in texts.items() if f'"{name}' in text} == set()
