import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.parse import OneOf, call, make_parser, read_arguments

Color = Literal["red", "green"]


def sample(
    files: tuple[Path, ...] = (),
    /,
    seeds: Sequence[int] = (0, 1),
    size: tuple[int, int] = (3, 4),
    colors: tuple[Color, ...] = ("red",),
    split: str | None = "dev",
    rate: float = 0.5,
    memory: Annotated[str, OneOf(lambda: ("window", "none"))] | None = None,
    options: Sequence[str] = (),
    width: Literal["auto", "full"] | int = "auto",
    is_fast: bool = False,
) -> None:
    """Take one value of each kind.

    A second paragraph with 100 % of the rest.

    Args:
        files: first the files,
            which go on in the next line.
        seeds: whole numbers.
        size: height and width.
        colors: ``red`` or green.
        split: a name or null.
        rate: a number.
        memory: another memory.
        options: words for others.
        width: a name or a number.
        is_fast: a switch.

    Returns:
        nothing: not an argument.
    """


def read(*words: str) -> dict[str, object]:
    return dict(read_arguments(sample, "program sample", words).arguments)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["a", "b"], {"files": (Path("a"), Path("b"))}),
        (["--seeds", "0", "2"], {"seeds": (0, 2)}),
        (["--seeds", "[0, 2]"], {"seeds": (0, 2)}),
        (["--seeds=3"], {"seeds": (3,)}),
        (["--width", "full"], {"width": "full"}),
        (["--rate", "1", "--", "-a", "--rate"], {"rate": 1.0, "files": (Path("-a"), Path("--rate"))}),
        (["--", "b"], {"files": (Path("b"),)}),
        (["--options", "[]"], {"options": ()}),
        (["--width", "7"], {"width": 7}),
        (["--size", "1", "2"], {"size": (1, 2)}),
        (["--size", "[1, 2]"], {"size": (1, 2)}),
        (["--split", "null"], {"split": None}),
        (["--rate", "-1.5"], {"rate": -1.5}),
        (["--memory", "none"], {"memory": "none"}),
        (["--options", '["--a.b=1", "--c"]'], {"options": ("--a.b=1", "--c")}),
        (["--options=--a-b.c=1"], {"options": ("--a-b.c=1",)}),
        (["--is-fast", "a"], {"files": (Path("a"),), "is_fast": True}),
    ],
)
def test_words_become_values_of_the_annotated_types(words: list[str], expected: dict[str, object]) -> None:
    assert read(*words) == expected


def test_files_are_recognized_between_options() -> None:
    words = ["--colors", "green", "--rate=1", "a", "--split", "x", "b"]
    files = (Path("a"), Path("b"))
    assert read(*words) == {"files": files, "colors": ("green",), "rate": 1.0, "split": "x"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1", "x"], "--seeds: must be a whole number, got 'x'"),
        (["--rate", "fast"], "--rate: must be a number, got 'fast'"),
        (["--colors", "[]"], "--colors: takes at least one value, got none"),
        (["--seeds"], "--seeds: takes at least one value, got none"),
        (["--width", "half"], "--width: must be auto or full or a whole number, got 'half'"),
        (["--colors", "red", "blue"], "--colors: must be one of red, green, got 'blue'"),
        (["--memory", "elephant"], "--memory: must be one of window, none, got 'elephant'"),
        (["--size", "1"], "--size: takes 2 values, got 1"),
        (["--sise", "1"], "unrecognized arguments: --sise; program sample --help explains all options"),
        (["--split"], "--split: expected one argument"),
        (["--options", '["a'], r'\["a is not a list'),
        (["--is-fast=maybe"], "--is_fast: ignored explicit argument 'maybe'"),
    ],
)
def test_a_mistake_names_the_option_and_what_it_takes(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(*words)


def test_what_has_no_default_is_required() -> None:
    def command(source: str, /, out: Path) -> None:
        """Do nothing."""

    for words, missing in (["x"], "--out"), (["--out", "x"], "source"):
        with pytest.raises(UserError, match=f"the following arguments are required: {missing}"):
            read_arguments(command, "program", words)


def test_the_help_page_has_the_complete_text_names_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    page = make_parser(sample, "program sample").format_help()
    assert "A second paragraph with 100 % of the rest." in " ".join(page.split())
    assert "first the files, which go on in the next line\n" in page
    assert "--colors [{red,green} ...]" in page
    assert "red or green (default: red)" in page
    assert "another memory; one of window, none\n" in page
    assert "height and width (default: 3 4)" in page
    assert "not an argument" not in page


def test_reading_a_command_line_needs_neither_torch_nor_jsonargparse() -> None:
    code = "import sys, mnemic_kit.parse; print({'torch', 'jsonargparse', 'numpy', 'rich', 'yaml'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


def test_options_may_be_spelled_with_hyphens() -> None:
    seen: dict[str, object] = {}

    def command(max_size: int = 0, data_name: str = "") -> None:
        """Remember the options.

        Args:
            max_size: a size.
            data_name: a name, whose hyphens stay.
        """
        seen.update(max_size=max_size, data_name=data_name)

    call(command, "program test", ["--max-size=3", "--data_name", "a-b"])
    assert seen == {"max_size": 3, "data_name": "a-b"}


def test_a_switch_takes_no_value() -> None:
    seen: list[tuple[bool, str]] = []

    def command(json: bool = False, name: str = "") -> None:
        """Remember the options.

        Args:
            json: a switch.
            name: a name.
        """
        seen.append((json, name))

    for words in (["--json"], ["--json", "--name", "x"], ["--name=x"], []):
        call(command, "program test", words)
    assert seen == [(True, ""), (True, "x"), (False, "x"), (False, "")]
    with pytest.raises(UserError, match="unrecognized arguments: false"):
        call(command, "program test", ["--json", "false"])


def test_a_command_that_fails_leaves_no_empty_folder(tmp_path: Path) -> None:
    def command(out: Path = tmp_path / "default" / "out", *, has_result: bool = False) -> None:
        """Fail.

        Args:
            out: a folder.
            has_result: write one first.
        """
        out.mkdir(parents=True)
        if has_result:
            (out / "result").touch()
        raise SystemExit(2)

    (tmp_path / "mine").mkdir()
    for words in ([], [f"--out={tmp_path / 'mine' / 'new'}"], [f"--out={tmp_path / 'kept'}", "--has_result"]):
        with pytest.raises(SystemExit):
            call(command, "program test", words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "mine"]
    assert not list((tmp_path / "mine").iterdir())
