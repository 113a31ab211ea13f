from pathlib import Path

import pytest
from action_checkpoints import write_checkpoint

from mnemic_actions.checkpoints import RunOptions, find_checkpoint, load_for_streams
from mnemic_core.errors import UserError
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import InputConfig, StreamKind


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("mnemic_actions.checkpoints.SHIPPED", folder)
    write_checkpoint(folder / "body.safetensors", InputConfig("skeleton", channels=6))
    write_checkpoint(folder / "watch.safetensors", InputConfig("sensor", channels=6, differences=True))
    return folder


@pytest.mark.parametrize(("kind", "name"), [("skeleton", "body"), ("sensor", "watch")])
def test_the_shipped_checkpoint_of_the_kind_is_found(kind: StreamKind, name: str, shipped: Path) -> None:
    assert find_checkpoint(None, kind, 6) == shipped / f"{name}.safetensors"


def test_arrays_without_a_name_fit_by_their_width_if_one_checkpoint_does(shipped: Path) -> None:
    with pytest.raises(UserError, match="body and watch both take 6 channels: give one of them with --checkpoint"):
        find_checkpoint(None, "plain", 6)
    (shipped / "watch.safetensors").unlink()
    assert find_checkpoint(None, "plain", 6).stem == "body"


def test_without_a_fitting_one_those_that_exist_are_listed(shipped: Path) -> None:
    with pytest.raises(UserError, match=r"body takes 6 channels of a skeleton; watch takes 6 channels of a sensor"):
        find_checkpoint(None, "skeleton", 9)


def test_a_given_checkpoint_is_not_replaced_by_a_shipped_one(shipped: Path, checkpoint: Path) -> None:
    assert find_checkpoint(checkpoint, "skeleton", 6) == checkpoint


def test_options_change_the_rule_and_nothing_else(checkpoint: Path) -> None:
    trained = load_for_streams(checkpoint, "plain", 6)
    rule = RunOptions(delay=2.0, score=0.4, without_memory=True).localizer(trained).rule
    assert (rule.delay, rule.score, rule.flag) == (2.0, 0.4, 1.0)
    assert RunOptions().localizer(trained).rule == LocalizerCheckpoint.load(checkpoint).settings.rule
