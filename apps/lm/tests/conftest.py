"""A tiny text and a checkpoint that several tests read."""

from pathlib import Path

import pytest

WORDS = {"one": "the memory of a text ", "two": "carries what was said "}


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for name, words in WORDS.items():
        (folder / name).write_text(4 * words)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    from mnemic_lm.commands import train

    root = tmp_path_factory.mktemp("run")
    options = {
        "trainer.default_root_dir": root,
        "trainer.max_steps": 40,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "model.transformer": "{dim: 16, num_layers: 1, num_heads: 2, ffn_dim: 16, memory: {name: window}}",
        "model.lr": 0.02,
        "model.warmup_steps": 2,
        "data.train": f"[{text}]",
        "data.val": f"[{text}]",
        "data.segment_length": 8,
        "data.batch_size": 2,
    }
    train.main("fit", [f"--{name}={value}" for name, value in options.items()])
    return root / "checkpoints" / "last.ckpt"
