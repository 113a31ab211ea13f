"""Documentation cannot lie: its code runs, its commands exist, its tree is the disk, every option explains itself."""

import io
import re
import runpy
import shlex
import subprocess
import sys
from argparse import ArgumentError
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType

import numpy as np
import pytest
import soundfile
from lightning.pytorch.cli import LightningCLI
from programs import find_programs

from mnemic_core.errors import UserError
from mnemic_kit.cli import TRAINING
from mnemic_kit.parse import read_arguments
from mnemic_vision.memotr.data import GeneratedSequences
from mnemic_vision.video import VideoWriter

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "packages/**/README.md", "apps/**/README.md")
    for page in ROOT.glob(pattern)
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# An option's line of a help page: flags, then after two spaces or on the next lines what it does.
OPTION = re.compile(r"^  (-\S(?:.*?\S)??)(?:  +|\n {3,}|$)((?:.*)(?:\n {3,}.*)*)", re.MULTILINE)
PROGRAMS = find_programs(ROOT)
CONFIGS = sorted(ROOT.glob("apps/*/src/*/configs/*.yaml"))
INLINE = re.compile(r"`(mnemic-[a-z]+ [a-z-]+ [^`\n]*--[^`\n]*)`")
CONFIG_HEAD = re.compile(r"^#.*?(mnemic-[a-z]+ [a-z-]+ [^\n(]*)", re.MULTILINE)
# What needs no training, no data and no microphone.
QUICK = re.compile(
    r"mnemic-track run my|mnemic-track evaluate .*--json|mnemic-transcribe (run talk|evaluate --data test)"
)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the code blocks of a page with the number of their first line."""
    text = page.read_text()
    found = [match for match in BLOCK.finditer(text) if match[1] == language]
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in found]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")  # a real module: dataclasses, pickle and the compiler look names up in it
    monkeypatch.setitem(sys.modules, "page", module)
    for first_line, code in blocks(page, "python"):
        exec(compile("\n" * first_line + code, str(page), "exec"), vars(module))


def shell_commands() -> list[tuple[str, str]]:
    lines = [
        (page_name(page), line) for page in PAGES for _, block in blocks(page, "sh") for line in block.splitlines()
    ]
    return [(page, line) for page, line in lines if shlex.split(line, comments=True)]


def program_lines() -> list[tuple[str, str]]:
    """Return the lines that call our programs: in shell blocks, in prose with options, and at the head of configs."""
    shell = [(page, line) for page, line in shell_commands() if line.split()[0] in PROGRAMS]
    prose = [(page_name(page), line) for page in PAGES for line in INLINE.findall(BLOCK.sub("", page.read_text()))]
    heads = [(page_name(path), line) for path in CONFIGS for line in CONFIG_HEAD.findall(path.read_text())]
    return [(page, line) for page, line in [*shell, *prose, *heads] if "..." not in line]


@pytest.mark.parametrize(("page", "line"), shell_commands())
def test_commands_of_shell_blocks_exist(page: str, line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    if program == "make":
        assert {word for word in arguments if "=" not in word} <= make_targets(), f"{page}: no such make target"
        return
    name = PurePosixPath(program).name
    assert name in {"python", "python3", "git", "cd"} or (BIN / name).exists(), f"{page}: no program {name}"
    assert name not in {"python", "python3"} or arguments[0] == "-m" or (ROOT / arguments[0]).is_file()


def understand(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a line as its program does: known options, values of their types, configs that exist and fit."""
    program, command, *arguments = shlex.split(line, comments=True)
    monkeypatch.chdir(tmp_path)
    if command not in TRAINING:
        read_arguments(PROGRAMS[program].function(command), f"{program} {command}", arguments)
        return

    monkeypatch.setattr(LightningCLI, "instantiate_classes", lambda _: sys.exit("understood"))
    train = import_module(f"{PROGRAMS[program].package}.train")
    with pytest.raises(SystemExit, match="understood"):
        train.main(f"{program} {command}", arguments)


@pytest.mark.parametrize(("page", "line"), program_lines())
def test_command_lines_are_understood(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    understand(line, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("mnemic-track run my.mp4 --autput x", "--autput"),
        ("mnemic-lm evaluate --checkpoint a --data b --batch_size many", "a whole number"),
        ("mnemic-track import-weights a.pth --config memotr_dancetrak", "--out"),
        ("mnemic-track fit --config memotr_dancetrak", "no config memotr_dancetrak"),
        ("mnemic-track fit --config memotr_generated --model.config.dims 3", "dims"),
    ],
)
def test_a_wrong_command_line_would_be_found(
    line: str, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((UserError, OSError, ArgumentError), match=mistake):
        understand(line, tmp_path, monkeypatch)


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that documented lines name."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter("my.mp4", (96, 64), 10.0) as writer:
        for _ in range(2):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    GeneratedSequences(seed=5, num_sequences=1, num_frames=2, size=(64, 96)).write_mot_layout("sequences")
    for name in ("talk.mp3", "interview.mp4"):
        soundfile.write(name, np.zeros(8000), 8000, format="MP3")
    Path("test.jsonl").write_text('{"audio_filepath": "talk.mp3", "duration": 1.0, "text": "one"}\n')
    return tmp_path


@pytest.mark.parametrize(("page", "line"), [(page, line) for page, line in program_lines() if QUICK.match(line)])
def test_quick_command_lines_run(page: str, line: str, samples: Path) -> None:
    program, *arguments = shlex.split(line, comments=True)
    with pytest.raises(SystemExit) as exit_request:
        PROGRAMS[program].main(arguments)
    assert exit_request.value.code == 0


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_alone_prints_every_target() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: help (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert [line.split()[1] for line in printed.splitlines()] == phony[1].split()


@cache
def help_of(program: str, command: str) -> str:
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(shown):
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as exit_request:  # in this process: a new one takes seconds to import torch
            PROGRAMS[program].main([command, "--help"])
    assert exit_request.value.code == 0
    assert "usage" in shown.getvalue().lower()
    return shown.getvalue()


def unexplained(help_page: str) -> list[str]:
    """Return the options whose text is nothing but the type and default that the parser adds."""
    return [flags for flags, text in OPTION.findall(help_page) if not re.sub(r"\(.*\)", "", text, flags=re.S).strip()]


@pytest.mark.parametrize(
    ("program", "command"), [(name, command) for name, program in PROGRAMS.items() for command in program.commands]
)
def test_every_option_has_help(program: str, command: str) -> None:
    silent = unexplained(help_of(program, command))
    assert not silent, f"options of `{program} {command}` without help: {silent}"


def test_an_option_without_help_would_be_found() -> None:
    page = "  -h, --help  Show this.\n  --out DIR\n              Where to write. (type: str)\n  --size N  (type: int)\n"
    assert unexplained(page) == ["--size N"]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if not target.startswith(("http:", "https:", "mailto:"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    pages = runpy.run_path(str(ROOT / "docs/build.py"))["pages"]()
    stale = [path.name for path, text in pages.items() if path.read_text() != text]
    assert not stale, f"run `make docs` to renew {stale}"


def tree_of_readme() -> dict[str, str]:
    """Return path and description of every line of the README's tree; folders end with a slash."""
    _, _, after = (ROOT / "README.md").read_text().partition("## The tree")
    entries: dict[str, str] = {}
    folders: list[str] = []
    for line in after.split("```text\n")[1].split("```")[0].splitlines():
        name, _, description = line.strip().partition(" ")
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        path = "".join(folders) + name
        entries[path] = description.strip()
        if name.endswith("/"):
            folders.append(name)
    return entries


def kept_files() -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return {name for name in listing.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_tree_of_the_readme_is_the_folders_on_disk() -> None:
    entries = tree_of_readme()
    folders = {f"{parent}/" for name in kept_files() for parent in PurePosixPath(name).parents if parent.name}
    folders = {folder for folder in folders if folder.count("/") <= 2}
    assert not folders - entries.keys(), f"add to the tree in README.md: {sorted(folders - entries.keys())}"
    assert not entries.keys() - folders, f"remove from the tree in README.md: {sorted(entries.keys() - folders)}"
    silent = sorted(path for path, description in entries.items() if not description)
    assert not silent, f"say in the tree of README.md what it is: {silent}"
