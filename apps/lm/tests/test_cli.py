from pathlib import Path

import pytest
from command_lines import mistake

from mnemic_lm import cli


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train"], "invalid choice: 'train'"),
        (["fit"], "data.train names no text"),
        (["fit", "--config", "shakespear"], "shakespeare_bytes"),
        (["fit", "--data.train=[absent.txt]", "--trainer.max_steps=1"], "no text file or folder at absent.txt"),
        (["fit", "--data.train=[TEXT]", "--data.segment_length=0", "--trainer.max_steps=1"], "got 0"),
        (["fit", "--data.train=[TEXT]", "--data.tokenizer=absent.json"], "no tokenizer file at absent.json"),
        (["fit", "--model.transformer.memory.name=elephant"], "memory must be one of"),
        (["fit", "--model.transformer.memory.name=product_key"], "one that carries a state"),
        (["fit", "--model.transformer.dim=33"], "dim must be a multiple"),
        (["fit", "--data.train=[TEXT]", "--trainer.max_epochs=-1"], "give --trainer.max_steps"),
        (["fit", "--data.train=[TEXT]", "--model.replay=true", "--trainer.accumulate_grad_batches=2"], "model.replay"),
        (["evaluate", "--checkpoint", "absent.ckpt", "--data", "TEXT"], "no checkpoint at absent.ckpt"),
        (["evaluate", "--checkpoint", "FOREIGN", "--data", "TEXT"], "of kind None, expected 'language_model'"),
        (["evaluate", "--checkpoint", "CHECKPOINT", "--data", "absent"], "no text file or folder"),
        (["evaluate", "--checkpoint", "CHECKPOINT", "--data", "TEXT", "--contexts", "12"], "multiple of the segment"),
        (["evaluate", "--checkpoint", "CHECKPOINT", "--data", "TEXT", "--memory-sizes", "0"], "capacity must be"),
        (["generate", "--checkpoint", "CHECKPOINT", "--tokens", "-1"], "--tokens must be at least 0"),
        (["generate", "--checkpoint", "CHECKPOINT", "--session", "absent/x"], "the folder absent does not exist"),
        (["generate", "--checkpoint", "CHECKPOINT", "--session", "FOREIGN"], "is truncated or not a checkpoint"),
        (["compare", "--memories", "elephant"], "elephant"),
        (["compare", "--config", "foreign.ckpt"], "foreign.ckpt is not a config in YAML"),
        (["compare", "--config", "list.yaml"], "list.yaml holds no settings at its top level"),
        (["fit", "--config", "foreign.ckpt"], "foreign.ckpt is not a config in YAML"),
        (["fit", "--model.transformer={dim: null}"], "model.transformer.dim must have a value, got null"),
        (["fit", "--model.transformer={memory: null}"], "model.transformer.memory must have a value, got null"),
        (["fit", "--model.transformer={memory: {options: null}}"], "memory.options must have a value, got null"),
        (["fit", "--seed_everything=-1"], "seed_everything must be between 0 and 4294967295, got -1"),
        (["fit", "--data.train=[TEXT]", "--trainer.accelerator=elephant"], "invalid accelerator name"),
        (["fit", "--data.train=[TEXT]", "--trainer.devices=-7", "--trainer.accelerator=cpu"], "trainer: `devices`"),
        (["fit", "--data.train=[TEXT]", "--trainer.accumulate_grad_batches=0"], "accumulate_grad_batches must be"),
        (["fit", "--data.train=[TEXT]", "--trainer.gradient_clip_val=-1"], "gradient_clip_val must be at least 0"),
        (["fit", "--data.train=[TEXT]", "--trainer.val_check_interval=0"], "val_check_interval must be above 0"),
        (["fit", "--data.train=[TEXT]", "--trainer.max_steps=1", "--ckpt_path=best"], "no checkpoint at runs"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    checkpoint: Path,
    text: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    (tmp_path / "list.yaml").write_text("[1, 2]\n")
    places = {"TEXT": str(text), "CHECKPOINT": str(checkpoint), "FOREIGN": "foreign.ckpt"}
    for name, place in places.items():
        arguments = [word.replace(name, place) for word in arguments]
    last = mistake(cli.main, arguments, capsys)
    assert last.startswith("mnemic-lm: error: ")
    assert expected in last
