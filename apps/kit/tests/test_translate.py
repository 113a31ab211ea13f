"""The words that training commands change before they are parsed."""

from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.training import translate


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.train", "a.txt"], ['--data.train=["a.txt"]']),
        (["--data.val=a b.txt"], ['--data.val=["a b.txt"]']),
        (["--data.test", "a.txt", "b.txt", "--seed_everything", "1"],
         ['--data.test=["a.txt", "b.txt"]', "--seed_everything", "1"]),
        (["--data.train", "[a.txt]"], ["--data.train=[a.txt]"]),
        (["--data.train={name: mot, root: data}"], ["--data.train=[{name: mot, root: data}]"]),
        (["--data.train", "null"], ["--data.train=null"]),
        (["--data.train"], ["--data.train"]),
        (["--data.batch_size", "4"], ["--data.batch_size", "4"]),
    ],
)  # fmt: skip
def test_sources_that_are_given_bare_become_lists(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    assert translate(words, tmp_path) == expected


def test_configs_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("data: {train: [a.txt]}")
    assert translate(["--config", "small"], tmp_path) == [f"--config={tmp_path / 'small.yaml'}"]


def test_a_config_whose_sources_are_no_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("data: {train: a.txt}")
    with pytest.raises(UserError, match=r"small.yaml: data.train is a list: write \[a.txt\]"):
        translate(["--config=small"], tmp_path)
