import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from command_lines import parse_config

from mnemic_core import MemoryConfig
from mnemic_kit.configs import find_config
from mnemic_track.commands import train
from mnemic_track.options import CONFIGS
from mnemic_vision.memotr import MemotrConfig, build_memotr

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
MODEL_CARD = Path(str(files("mnemic_vision.memotr"))) / "README.md"
PAPER = {"memotr_dancetrack", "memotr_sportsmot", "memotr_mot17", "memotr_bdd100k"}


@cache
def parse(name: str) -> train.TrackCLI:
    """Return the command line object with its config parsed and nothing built."""
    return parse_config(train.main, train.TrackCLI, name)


def test_all_settings_of_the_paper_have_a_config() -> None:
    assert set(NAMES) == PAPER | {"memotr_generated", "memotr_pets"}


@pytest.mark.parametrize("name", NAMES)
def test_config_builds_its_network(name: str) -> None:
    given = parse(name).config["fit"]
    config = given["model"]["config"]
    with torch.device("meta"):
        sizes = config.as_dict()
        model = build_memotr(MemotrConfig(**sizes | {"memory": MemoryConfig(**sizes["memory"])}))
    assert len(model.class_heads) == config["decoder_layers"]
    assert config["num_classes"] == len(given["data"]["classes"])
    assert list(given["model"]["settings"]["classes"]) == list(given["data"]["classes"])


@pytest.mark.parametrize(
    ("name", "epochs", "drop", "lengths"),
    [
        ("memotr_dancetrack", 20, 12, {0: 2, 6: 3, 10: 4, 14: 5}),
        ("memotr_sportsmot", 28, 18, {0: 2, 10: 3, 16: 4, 22: 5}),
        ("memotr_mot17", 130, 120, {0: 2, 60: 3, 100: 4}),
        ("memotr_bdd100k", 14, 12, {0: 2, 6: 3, 10: 4}),
    ],
)
def test_schedules_are_the_official_ones(name: str, epochs: int, drop: int, lengths: dict[int, int]) -> None:
    given = parse(name).config["fit"]
    assert given["trainer"]["max_epochs"] == epochs
    assert list(given["model"]["lr_drops"]) == [drop]
    assert dict(given["data"]["clip_lengths"]) == lengths


@pytest.mark.parametrize("name", ["memotr_dancetrack", "memotr_sportsmot", "memotr_mot17", "memotr_bdd100k"])
def test_the_model_card_has_the_epochs_and_clips_of_the_config(name: str) -> None:
    given = parse(name).config["fit"]
    lengths = dict(given["data"]["clip_lengths"]).values()
    (row,) = [line for line in MODEL_CARD.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    found = re.search(r"(\d+) epochs, clips of (\d+) to (\d+)", row)
    assert found is not None
    assert [int(number) for number in found.groups()] == [given["trainer"]["max_epochs"], min(lengths), max(lengths)]


def test_a_name_that_is_no_config_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="memotr_bdd100k, memotr_dancetrack"):
        find_config("memotr", CONFIGS)
