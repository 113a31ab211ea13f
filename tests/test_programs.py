"""What all programs do alike: they explain themselves at once, and what ends them early is one line."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from programs import find_programs

from mnemic_core.errors import UserError
from mnemic_kit.cli import TRAINING, Program
from mnemic_kit.figures import open_figure

ROOT = Path(__file__).parents[1]
PROGRAMS = find_programs(ROOT)
CONFIGS = sorted(ROOT.glob("apps/*/src/*/configs/*.yaml"))


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Program:
    return PROGRAMS[request.param]


def test_help_lists_every_command_without_importing_torch(program: Program) -> None:
    lines = ["import sys", f"from {program.package.split('.')[0]} import cli", "try: cli.main(['--help'])"]
    code = "\n".join([*lines, "except SystemExit: print('torch' in sys.modules)"])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("False\n")
    assert all(f"  {name} " in shown for name in program.commands)


def test_installed_program_starts(program: Program) -> None:
    subprocess.run([Path(sys.executable).with_name(program.name), "--help"], capture_output=True, check=True)


def test_interruption_is_one_line_and_exit_code_130(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "run", interrupt)
    with pytest.raises(SystemExit) as exit_request:
        program.main(["fit"])
    assert exit_request.value.code == 130
    assert capsys.readouterr().err == f"{program.name}: interrupted\n"


def test_a_defect_of_the_program_keeps_its_traceback(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("defect")

    monkeypatch.setattr(Program, "run", fail)
    with pytest.raises(KeyError):
        program.main(["fit"])


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            ["run", "--beam", "900", "a.wav", "--data.batch_size=64"],
            "smaller numbers than --beam 900, --data.batch_size=64",
        ),
        (["run", "a.wav"], "smaller sizes, such as a smaller batch"),
    ],
)
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("can't allocate memory")]
)
def test_what_needs_too_much_memory_is_one_line_that_names_the_options(
    words: list[str], advice: str, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Program, "run", fail)
    with pytest.raises(SystemExit, match="2"):
        PROGRAMS["mnemic-track"].main(words)
    assert f"there is not enough memory for this: give {advice}" in capsys.readouterr().err


def test_every_program_says_its_version(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program.main(["--version"])
    assert capsys.readouterr().out == f"{program.name} {version(program.name)}\n"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_short_and_begins_with_what_it_is_for_and_its_command(path: Path) -> None:
    first, second, *others = path.read_text().splitlines()
    assert first.startswith("# ")
    assert f"mnemic-{path.parents[3].name} fit --config {path.stem}" in second
    assert len(others) <= 38


@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name, one in PROGRAMS.items() for command in one.commands if command not in TRAINING],
)
def test_help_of_a_command_that_does_not_train_needs_no_torch(name: str, command: str) -> None:
    package = PROGRAMS[name].package.split(".")[0]
    lines = ["import sys", f"from {package} import cli", f"try: cli.main(['{command}', '--help'])"]
    code = "\n".join([*lines, "except SystemExit: print({'torch', 'jsonargparse'} & {*sys.modules})"])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("set()\n")
    assert shown.startswith(f"usage: {name} {command} ")


def test_a_value_error_of_a_library_is_a_defect_and_keeps_its_traceback(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(Program, "run", lambda *_: torch.optim.SGD([torch.ones(1)], lr=-1.0))
    with pytest.raises(ValueError, match="Invalid learning rate") as defect:
        program.main(["fit"])
    assert not isinstance(defect.value, UserError)


def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(*_: object) -> None:
        with open_figure("a.png", 1.0, 1.0, program=program.name):
            pass

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(Program, "run", draw)
    with pytest.raises(SystemExit, match="2"):
        program.main(["fit"])
    shown = capsys.readouterr().err
    name = program.name
    assert shown == f"{name}: error: plots need matplotlib; install it with: pip install '{name}[plots]'\n"


def test_a_missing_module_that_is_no_extra_is_a_defect(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "run", lambda *_: __import__("absent_module"))
    with pytest.raises(ModuleNotFoundError):
        program.main(["fit"])
