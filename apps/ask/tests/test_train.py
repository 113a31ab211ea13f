from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from trainings import Stop, losses

from mnemic_ask.commands import train
from mnemic_ask.murag import training
from mnemic_core.errors import UserError
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_retrieval.murag import MuragCheckpoint


def fit(config: Path, root: Path, *options: str) -> Path:
    fit_or_resume(train.main, ["--config", str(config), *options], root)
    return root


def weights(root: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(checkpoint_path(root, name))["state_dict"]


@pytest.mark.parametrize("stage", ["inbatch", "fixed"])
def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(
    stage: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [f"--model.stage={stage}", "--model.settings.hops=2"]
    if stage == "fixed":
        first = fit(config, tmp_path / "first", "--trainer.max_steps=1")
        options.append(f"--model.init_checkpoint={checkpoint_path(first)}")
    whole = fit(config, tmp_path / "whole", *options)
    assert len(losses(whole)) == 8
    monkeypatch.setitem(training.TRAINER_DEFAULTS, "callbacks", [Stop(5)])
    with pytest.raises(RuntimeError, match="killed"):
        fit(config, tmp_path / "broken", *options)
    monkeypatch.delitem(training.TRAINER_DEFAULTS, "callbacks")
    broken = fit(config, tmp_path / "broken", *options)
    assert losses(broken) == losses(whole)
    assert_close(weights(broken), weights(whole), atol=0.0, rtol=0.0)


def test_stage_2_keeps_what_searches(config: Path, tmp_path: Path) -> None:
    first = fit(config, tmp_path / "first", "--trainer.max_steps=2")
    given = f"--model.init_checkpoint={checkpoint_path(first)}"
    second = fit(config, tmp_path / "second", given, "--model.stage=fixed", "--trainer.max_steps=2")
    before, after = weights(first), weights(second)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("model.encoder.") for name in changed)
    assert any(name.startswith("model.decoder.") for name in changed)


def test_hard_negatives_are_mined_with_the_given_network(config: Path, tmp_path: Path) -> None:
    first = fit(config, tmp_path / "first", "--trainer.max_steps=1")
    given = [f"--model.init_checkpoint={checkpoint_path(first)}", "--trainer.max_steps=1"]
    run = fit_or_resume(
        train.main, ["--config", str(config), *given, "--model.mine_negatives=true"], tmp_path / "again"
    )
    data = run.datamodule
    assert len(data.hard) == len(data.split("train").queries)
    for query in data.split("train").queries:
        assert len(data.hard[query.id]) == 9
        assert not {*data.hard[query.id]} & {*query.relevant}


def test_scores_are_logged_and_predictions_written(config: Path, tmp_path: Path) -> None:
    root = fit(config, tmp_path / "run", "--trainer.max_steps=4")
    assert MuragCheckpoint.load(checkpoint_path(root, "best")).settings.max_answer_tokens == 4
    common = ["--config", str(config), f"--trainer.default_root_dir={root}", "--ckpt_path", "last"]
    scores = train.main("test", common).trainer.callback_metrics
    assert {"test/em", "test/f1", "test/citation_f1"} <= scores.keys()
    train.main("predict", common)
    assert len((root / "predictions.jsonl").read_text().splitlines()) == 4  # of one picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.stage=fixed"], "need init_checkpoint"),
        (["--model.init_checkpoint=absent.ckpt"], "absent.ckpt"),
        (["--data.tokenizer=package:no_such_package/t.json"], "pip install --no-deps no-such-package"),
        (["--data.train=[{name: corpus, root: absent}]"], "absent"),
        (["--data.shares={fact: 0.5}"], "data.shares names fact"),
        (["--data.shares={shape: 2}"], "shares of shape"),
    ],
)
def test_wrong_settings_are_refused_before_training(
    options: list[str], message: str, config: Path, tmp_path: Path
) -> None:
    with pytest.raises((UserError, FileNotFoundError), match=message):
        fit(config, tmp_path / "run", *options)
