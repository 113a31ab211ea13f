from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from trainings import Stop, losses

from mnemic_core.errors import UserError
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_speech.simultaneous import Translator
from mnemic_translate.commands import train


def fit(config: Path, root: Path, *options: str) -> Path:
    fit_or_resume(train.main, ["--config", str(config), *options], root)
    return root


def weights(root: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(checkpoint_path(root, name))["state_dict"]


@pytest.mark.parametrize("frozen", [0, 5])
def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(
    frozen: int, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = f"--model.frozen_steps={frozen}"
    whole = fit(config, tmp_path / "whole", option)
    steps = len(losses(whole))
    assert steps == 12
    for batches in (3, 7):
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, tmp_path / "broken", option)
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    broken = fit(config, tmp_path / "broken", option)
    assert losses(broken) == losses(whole)
    for name in ("last", "averaged"):
        assert_close(weights(broken, name), weights(whole, name), atol=0.0, rtol=0.0)


def test_a_translator_begins_with_the_encoder_of_a_recognizer(config: Path, tmp_path: Path) -> None:
    """The encoder is frozen in the first steps, and learns after them."""
    words = "[eight, five, four, nine, one, pound, seven, six, star, three, two, zero]"
    english = ["--data.written=en", f"--data.vocabulary.words={words}", "--model.config.ctc_weight=0.5"]
    recognizer = fit(config, tmp_path / "asr", *english, "--trainer.max_steps=3")
    assert Translator.load(checkpoint_path(recognizer)).target == "en"
    start = [f"--model.init_checkpoint={checkpoint_path(recognizer)}", "--model.frozen_steps=2"]
    frozen = fit(config, tmp_path / "frozen", *start, "--trainer.max_steps=2")
    longer = fit(config, tmp_path / "longer", *start, "--trainer.max_steps=3")
    given, kept, learned = (
        {name: value for name, value in weights(run).items() if name.startswith("model.encoder.")}
        for run in (recognizer, frozen, longer)
    )
    assert_close(kept, given, atol=0.0, rtol=0.0)
    assert any(not torch.equal(learned[name], value) for name, value in given.items())
    assert_close(weights(frozen)["normalizer.mean"], weights(recognizer)["normalizer.mean"])
    continued = [f"--model.init_checkpoint={checkpoint_path(frozen)}", "--model.init_decoder=true", "--model.lr=0"]
    same = fit(config, tmp_path / "same", *continued, "--model.warmup_lr=0", "--trainer.max_steps=1")
    assert_close(weights(same), weights(frozen), atol=0.0, rtol=0.0)


def test_scores_are_logged_and_predictions_written(config: Path, tmp_path: Path) -> None:
    root = fit(config, tmp_path / "run", "--trainer.max_steps=4")
    common = ["--config", str(config), f"--trainer.default_root_dir={root}", "--ckpt_path", "last"]
    scores = train.main("test", common).trainer.callback_metrics
    assert {"test/loss", "test/bleu", "test/chrf", "test/acc"} <= scores.keys()
    train.main("predict", common)
    assert len((root / "predictions.jsonl").read_text().splitlines()) == 4


def test_a_recognizer_is_scored_by_words(config: Path, tmp_path: Path) -> None:
    words = "[eight, five, four, nine, one, pound, seven, six, star, three, two, zero]"
    options = ["--data.written=en", f"--data.vocabulary.words={words}", "--trainer.max_steps=4"]
    root = fit(config, tmp_path / "run", *options)
    scores = train.main(
        "validate", ["--config", str(config), *options, f"--trainer.default_root_dir={root}", "--ckpt_path", "last"]
    ).trainer.callback_metrics
    assert scores["val/wer"] > 0


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(config: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    with pytest.raises(UserError, match=r"diverged: after step \d+ weights are NaN"):
        fit(config, root, "--model.lr=1e30", "--last_checkpoint.every_n_train_steps=1")
    assert all(weight.isfinite().all() for weight in weights(root).values())


@pytest.mark.slow
def test_generated_tones_are_learned(tmp_path: Path) -> None:
    """The German order of pairs needs words that are still to come."""
    root = tmp_path / "run"
    run = fit_or_resume(train.main, ["--config=augmented_memory_generated", "--trainer.accelerator=cpu"], root)
    assert run.trainer.callback_metrics["val/bleu"] > 90
