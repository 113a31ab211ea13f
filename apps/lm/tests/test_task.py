import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.testing import assert_close
from trainings import Stop, losses, run_and_kill

from mnemic_core import MemoryConfig, MemoryState, TransformerConfig
from mnemic_kit.run_folder import fit_or_resume
from mnemic_lm.checkpoints import LanguageCheckpoint
from mnemic_lm.commands import train
from mnemic_lm.datamodule import TextData
from mnemic_lm.model import LanguageModel, ProductKeyConfig
from mnemic_lm.scoring import score
from mnemic_lm.streams import SegmentBatch
from mnemic_lm.task import LanguageTask
from mnemic_lm.text import read_corpus
from mnemic_lm.tokens import ByteCodec
from mnemic_lm.unrolling import unroll

TINY = """
trainer:
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 1}
model:
  transformer: {dim: 16, num_layers: 2, num_heads: 2, ffn_dim: 16, dropout: 0.1, memory: {name: MEMORY}}
  warmup_steps: 2
data: {train: [FOLDER], segment_length: 8, batch_size: 2, bptt: 2}
"""


LEARNED_START = "slot_attention, options: {num_slots: 3, num_heads: 2}"


@pytest.fixture(params=["window", LEARNED_START])
def config(request: pytest.FixtureRequest, tmp_path: Path, text: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("MEMORY", request.param).replace("FOLDER", str(text)))
    return path


def trainer(root: Path, **options: object) -> Trainer:
    defaults = {"max_steps": 3, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(logger=False, **{**train.TRAINER_DEFAULTS, "default_root_dir": root, **defaults, **options})


def data(text: Path, **options: object) -> TextData:
    return TextData([text], [text], **{"segment_length": 8, "batch_size": 2, "bptt": 3, **options})


def test_a_run_stopped_anywhere_continues_with_its_memory_on_the_same_loss_curve(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={tmp_path / 'whole'}"])
    for steps in (2, 6, 9):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(steps)])
        with pytest.raises(RuntimeError, match="killed"):
            fit_or_resume(train.main, ["--config", str(config)], tmp_path / "broken")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    fit_or_resume(train.main, ["--config", str(config)], tmp_path / "broken")
    whole = losses(tmp_path / "whole")
    assert len(whole) == 12  # 22 segments of 8 bytes in 2 streams, 2 a step, twice
    assert losses(tmp_path / "broken") == whole


@pytest.mark.slow
def test_a_killed_process_continues_on_the_same_loss_curve(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnemic_lm", "fit", "--config", str(config), "--trainer.max_epochs=20"]
    subprocess.run([*command, f"--trainer.default_root_dir={tmp_path / 'whole'}"], check=True, capture_output=True)
    root = tmp_path / "killed"
    command = [*command, f"--trainer.default_root_dir={root}"]
    run_and_kill(command, root, steps=9)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(root) == losses(tmp_path / "whole")


def test_a_run_that_was_long_enough_can_be_made_longer(tmp_path: Path, text: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("MEMORY", "window").replace("FOLDER", str(text)))
    for steps in (2, 2, 9):
        run = fit_or_resume(train.main, ["--config", str(config), f"--trainer.max_steps={steps}"], tmp_path)
        assert run.trainer.global_step == steps


@pytest.mark.parametrize("memory", ["window", "slot_attention", "none"])
def test_memory_replay_leaves_the_gradients_of_back_propagation(tmp_path: Path, text: Path, memory: str) -> None:
    options = {"num_slots": 3, "num_heads": 2} if memory == "slot_attention" else {}
    transformer = TransformerConfig(16, 2, 2, 16, MemoryConfig(memory, options), dropout=0.1)
    weights = []
    for replay in (False, True):
        torch.manual_seed(0)
        task = LanguageTask(transformer, replay=replay, lr=0.01, warmup_steps=1)
        trainer(tmp_path).fit(task, data(text))
        weights.append(task.model.state_dict())
    assert_close(weights[0], weights[1], atol=2e-5, rtol=1e-4)


def test_training_carries_the_memory_from_step_to_step_without_gradients(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[MemoryState, torch.Tensor]] = []

    def watched(model: LanguageModel, batch: SegmentBatch, state: MemoryState) -> object:
        seen.append((state, batch.reset))
        return unroll(model, batch, state)

    monkeypatch.setattr("mnemic_lm.task.unroll", watched)
    trainer(tmp_path).fit(
        LanguageTask(TransformerConfig(16, 1, 2, 16, MemoryConfig("window", {"capacity": 99}))), data(text)
    )
    name = "layers.0:mnemic_core.buffers.ring_buffer.RingBuffer:count"
    assert [int(state.tensors()[name].max()) for state, _ in seen] == [0, 24, 48]
    assert not any(tensor.requires_grad for state, _ in seen for tensor in state.tensors().values())
    assert [bool(reset.any(1)[0]) for _, reset in seen][:2] == [True, False]


def test_validation_and_test_give_the_bits_of_the_text(tmp_path: Path, text: Path) -> None:
    task, run, texts = (
        LanguageTask(TransformerConfig(16, 1, 2, 16, MemoryConfig("window"))),
        trainer(tmp_path),
        data(text),
    )
    found = run.validate(task, texts, verbose=False)[0] | run.test(task, texts, verbose=False)[0]
    expected = score(task.model, read_corpus([text], ByteCodec()), 8, batch_size=2)
    assert found["val/bits_per_byte"] == found["test/bits_per_byte"] == pytest.approx(expected)
    assert found["val/loss"] == pytest.approx(expected * math.log(2))


def test_a_checkpoint_is_the_model_with_all_that_belongs_to_it(tmp_path: Path, text: Path) -> None:
    keys = ProductKeyConfig(sub_keys=4, num_heads=1, k=2, key_dim=4)
    transformer = TransformerConfig(16, 2, 2, 64, MemoryConfig("window", {"capacity": 3}), memory_layers=(1,))
    task, run = LanguageTask(transformer, keys, match_size=True, seed=4), trainer(tmp_path)
    run.fit(task, data(text))
    run.save_checkpoint(tmp_path / "some.ckpt")
    loaded = LanguageCheckpoint.load(tmp_path / "some.ckpt")
    assert (loaded.model.config, loaded.model.config.product_keys) == (task.model.config, keys)
    assert loaded.model.config.transformer.ffn_dim < 64
    assert_close(loaded.model.state_dict(), task.model.state_dict(), atol=0.0, rtol=0.0)
    assert (loaded.settings.segment_length, loaded.codec.num_tokens) == (8, 256)
    made = loaded.provenance
    assert (made["seed"], made["step"], made["package"], made["data"]) == (4, 3, "mnemic-lm", text.name)


def test_the_learning_rate_rises_and_falls_and_values_learn_faster(tmp_path: Path, text: Path) -> None:
    keys = ProductKeyConfig(sub_keys=4, num_heads=1, k=2, key_dim=4)
    task = LanguageTask(TransformerConfig(16, 1, 2, 16), keys, lr=1.0, final_lr=0.1, warmup_steps=2)
    trainer(tmp_path, max_steps=8).fit(task, data(text))
    schedule = task.lr_schedulers()
    rates = [schedule.lr_lambdas[0](step) for step in range(9)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[5] == pytest.approx(0.55)
    assert rates[8] == pytest.approx(0.1)
    assert [group["lr"] for group in task.optimizers().param_groups] == pytest.approx([0.1, 0.1, 1.0])
    assert sum(len(group["params"]) for group in task.optimizers().param_groups) == len(list(task.parameters()))


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = LanguageTask(TransformerConfig(16, 1, 2, 16))
    task.trainer = trainer(tmp_path)
    monkeypatch.setattr(Trainer, "world_size", property(lambda _: 2))
    with pytest.raises(ValueError, match="streams belong to one process, got 2"):
        task.on_fit_start()
