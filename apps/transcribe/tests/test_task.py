import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_speech.conformer import ConformerConfig
from mnemic_speech.conformer_ntm import ConformerNtmConfig, Recognizer
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.data.augmentation import Augmentation, Masks
from mnemic_speech.data.tones import WORDS, ToneWorld
from mnemic_speech.data.vocabulary import Vocabulary
from mnemic_speech.features import FeatureConfig, Features
from mnemic_speech.text import WordTokenizer
from mnemic_transcribe.commands import train
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.sources import DataSource
from mnemic_transcribe.task import TranscriptionTask

FEATURES = FeatureConfig(sample_rate=8000, num_mels=20, n_fft=256, window=200, hop=80)
ENCODER = ConformerConfig(num_mels=20, dim=16, num_heads=2, ffn_dim=16, num_layers=1, kernel_size=5)
MEMORIES = {
    "none": {},
    "turing_paper": {"slots": 4, "width": 3},
    "turing_release": {"slots": 4, "width": 3},
    "turing_improved": {"slots": 4, "width": 3},
    "slot_attention": {"num_slots": 3, "num_heads": 2},
}


def task(memory: str = "turing_paper", ctc_weight: float = 0.3, **options: object) -> TranscriptionTask:
    tokenizer = WordTokenizer(WORDS)
    config = ConformerNtmConfig(
        tokenizer.vocab_size,
        ENCODER,
        1,
        16,
        MemoryConfig(memory, MEMORIES[memory]),
        memory_segment=5,
        ctc_weight=ctc_weight,
    )
    return TranscriptionTask(tokenizer.state(), config, FEATURES, **{"masks": Masks(frequency_width=6), **options})


def data(**options: object) -> SpeechData:
    train, val = (DataSource("generated", world=ToneWorld(count, 1, 3, seed=count)) for count in (9, 4))
    defaults = {"vocabulary": Vocabulary("words", words=WORDS), "text_style": "keep", "sample_rate": 8000}
    return SpeechData([train], [val], **{**defaults, "batch_seconds": 4.0, **options})


def trainer(root: Path, **options: object) -> Trainer:
    defaults = {"max_steps": 2, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(logger=False, **{**train.TRAINER_DEFAULTS, "default_root_dir": root, **defaults, **options})


@pytest.mark.parametrize("memory", MEMORIES)
def test_every_parameter_gets_a_gradient_so_that_processes_stay_in_step(tmp_path: Path, memory: str) -> None:
    made = task(memory)
    trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(made, data())
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("weight", "decoding"), [(0.0, "attention"), (1.0, "ctc")])
def test_one_branch_alone_trains_and_is_scored(tmp_path: Path, weight: float, decoding: str) -> None:
    made, run = task(ctc_weight=weight, settings=TranscriptionSettings(decoding)), trainer(tmp_path)
    run.fit(made, data())
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []
    found = run.validate(made, data(), verbose=False)[0]
    assert {"val/wer", "val/loss"} <= found.keys()
    assert ("val/acc" in found) == (weight < 1)


def test_a_step_with_a_nan_gradient_is_skipped_with_a_warning(tmp_path: Path) -> None:
    class Spoilt(Callback):
        """Puts NaN into a gradient of the second step."""

        def __init__(self) -> None:
            self.weights: list[dict[str, Tensor]] = []

        def on_train_batch_start(self, trainer: Trainer, module: TranscriptionTask, *_: object) -> None:
            self.weights.append({name: value.clone() for name, value in module.model.named_parameters()})

        def on_after_backward(self, trainer: Trainer, module: TranscriptionTask) -> None:
            if trainer.global_step == 1:
                module.model.ctc.bias.grad[0] = torch.nan

    spoilt = Spoilt()
    run = trainer(tmp_path, max_steps=4, limit_val_batches=0, callbacks=[spoilt], gradient_clip_val=1.0)
    with pytest.warns(UserWarning, match="gradient of step 1 is not finite"):
        run.fit(task(), data(batch_seconds=1.0))
    first, second, third, fourth = ([value.sum() for value in weights.values()] for weights in spoilt.weights)
    assert first != second == third != fourth
    assert torch.stack(fourth).isfinite().all()


@pytest.mark.parametrize("memory", MEMORIES)
def test_every_memory_trains_in_mixed_precision_with_gradients_clipped(tmp_path: Path, memory: str) -> None:
    run = trainer(tmp_path, precision="bf16-mixed", gradient_clip_val=5.0, limit_val_batches=0)
    run.fit(task(memory), data())
    assert run.global_step == 2
    assert run.callback_metrics["train/loss"].isfinite()


def test_fit_validates_and_its_checkpoint_is_a_recognizer(tmp_path: Path) -> None:
    made, run = task(seed=4), trainer(tmp_path, max_steps=-1, max_epochs=1)
    run.fit(made, data())
    figures = {"val/wer", "val/cer", "val/deletions", "val/acc", "val/loss", "train/loss", "train/ctc"}
    assert figures <= run.callback_metrics.keys()
    run.save_checkpoint(tmp_path / "some.ckpt")
    loaded = Recognizer.load(tmp_path / "some.ckpt")
    assert_close(loaded.model.state_dict(), made.model.state_dict(), atol=0.0, rtol=0.0)
    assert_close(loaded.normalizer.mean, made.normalizer.mean, atol=0.0, rtol=0.0)
    assert (loaded.model.config, loaded.features.config) == (made.model.config, FEATURES)
    assert loaded.tokenizer.state() == WordTokenizer(WORDS).state()
    provenance = loaded.provenance
    assert (provenance["seed"], provenance["step"], provenance["package"]) == (4, run.global_step, "mnemic-transcribe")
    assert provenance["metrics"].keys() >= {"val/wer"}


def test_the_mean_of_the_features_is_that_of_the_training_set_as_it_is(tmp_path: Path) -> None:
    made, texts = task(), data(augmentation=Augmentation(gain_db=(20.0, 20.0)))
    trainer(tmp_path, max_steps=1).fit(made, texts)
    waves = [clip.read(8000, np.random.default_rng()) for clip in texts.clips("train")]
    frames = torch.cat([Features(FEATURES)(wave[None])[0][0] for wave in waves])
    assert_close(made.normalizer.mean, frames.mean(0), atol=1e-4, rtol=1e-4)
    assert_close(made.normalizer.std, frames.std(0), atol=1e-2, rtol=1e-2)


def test_validation_logs_the_diversity_of_slots(tmp_path: Path) -> None:
    found = {
        name: trainer(tmp_path).validate(task(name), data(), verbose=False)[0].get("val/memory_diversity")
        for name in ("none", "turing_release", "turing_improved")
    }
    assert found["none"] is None
    assert found["turing_release"] == pytest.approx(0, abs=1e-5)
    assert found["turing_improved"] > 0.01


def test_training_sees_masks_and_validation_does_not(tmp_path: Path) -> None:
    made, texts = task(normalizer="none", masks=Masks(0, 2, 15, 0)), data()
    made.trainer = trainer(tmp_path)
    batch = texts._batches(texts.clips("train"))[0]
    plain = made.eval()._prepare(batch)[0]
    masked = made.train()._prepare(batch)[0]
    assert (plain[:, :5] != 0).all()
    assert (masked[:, :5] == 0).all(1).any()


def test_frames_are_padded_to_a_multiple(tmp_path: Path) -> None:
    made, texts = task(), data()
    features, lengths = made._prepare(texts._batches(texts.clips("train"))[0])
    assert features.shape[1] % 32 == 0
    assert features.shape[1] - 32 < lengths.max() <= features.shape[1]


def test_masks_leave_the_mean_of_an_utterance_alone() -> None:
    made, texts = task(normalizer="utterance", masks=Masks(0, 0, 27, 5, 0.5)), data()
    batch = texts._batches(texts.clips("train")[:1])[0]
    plain, masked = made.eval()._prepare(batch)[0], made.train()._prepare(batch)[0]
    assert_close(masked[masked != 0], plain[masked != 0])


def test_the_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    rates = {}
    for has_end in (False, True):
        made, run = task(lr=1.0, warmup_steps=2, has_end=has_end), trainer(tmp_path, max_steps=10)
        made.trainer = run
        share = made.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
        rates[has_end] = [share(step) for step in (0, 1, 7, 9)]
    assert rates[False] == pytest.approx([0.5, 1.0, 0.5, (2 / 10) ** 0.5])
    assert rates[True] == pytest.approx([0.5, 1.0, 0.146447, 0.0], abs=1e-5)


def test_training_starts_from_another_checkpoint_with_its_statistics(tmp_path: Path) -> None:
    first, run = task(), trainer(tmp_path, max_steps=1)
    run.fit(first, data())
    run.save_checkpoint(tmp_path / "first.ckpt")
    second = task(init_checkpoint=tmp_path / "first.ckpt", lr=0.0)
    other = data(augmentation=Augmentation(gain_db=(20.0, 20.0)))
    trainer(tmp_path, max_steps=1).fit(second, other)
    assert_close(second.normalizer.mean, first.normalizer.mean, atol=0.0, rtol=0.0)
    assert_close(dict(second.model.named_parameters()), dict(first.model.named_parameters()), atol=0.0, rtol=0.0)


def test_the_encoder_alone_serves_a_network_with_another_memory(tmp_path: Path) -> None:
    first, run = task(memory="none"), trainer(tmp_path, max_steps=1)
    run.fit(first, data())
    run.save_checkpoint(tmp_path / "first.ckpt")
    second = task(init_checkpoint=tmp_path / "first.ckpt", init_parts=["encoder"])
    assert_close(dict(second.model.encoder.named_parameters()), dict(first.model.encoder.named_parameters()))
    assert_close(second.normalizer.mean, first.normalizer.mean)
    assert not torch.equal(second.model.ctc.weight, first.model.ctc.weight)
    with pytest.raises(ValueError, match=r"the memory of .*first.ckpt does not fit"):
        task(init_checkpoint=tmp_path / "first.ckpt")


def test_predictions_are_a_line_for_each_utterance(tmp_path: Path) -> None:
    trainer(tmp_path).predict(task(), data(), return_predictions=False)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == sorted(clip.id for clip in data().clips("test"))
    assert {line["id"]: line["text"] for line in lines} == {clip.id: clip.text for clip in data().clips("test")}
    assert all(isinstance(line["pred_text"], str) for line in lines)


def test_tests_decode_as_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "mnemic_transcribe.task.recognize", lambda *given: seen.append(given[2].decoding) or recognize(*given)
    )
    made, run = task(settings=TranscriptionSettings("attention")), trainer(tmp_path)
    found = run.validate(made, data(), verbose=False)[0] | run.test(made, data(), verbose=False)[0]
    assert set(seen) == {"ctc", "attention"}
    assert found["test/loss"] == pytest.approx(found["val/loss"])
    assert 0 <= found["test/deletions"] <= found["test/wer"]


def test_a_decoding_without_its_branch_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the branch ctc"):
        task(ctc_weight=0.0)


def test_averaging_and_accumulation_train(tmp_path: Path) -> None:
    run = trainer(tmp_path, accumulate_grad_batches=2, limit_val_batches=0)
    run.fit(task(), data())
    assert run.global_step == 2


def test_a_vocabulary_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="that of the tokenizer, 15, got 7"):
        TranscriptionTask(WordTokenizer(WORDS).state(), ConformerNtmConfig(7))


@pytest.mark.slow
def test_two_processes_train_without_looking_for_unused_parameters(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnemic_transcribe", "fit", "--config", str(config), "--trainer.max_epochs=1"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    made = Recognizer.load(tmp_path / "run" / "checkpoints" / "averaged.ckpt").provenance
    assert made["step"] >= 2
    assert made["metrics"].keys() >= {"val/wer"}
