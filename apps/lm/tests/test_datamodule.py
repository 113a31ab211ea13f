from pathlib import Path

import pytest
import torch

from mnemic_lm.commands import train
from mnemic_lm.datamodule import TextData
from mnemic_lm.scoring import score
from mnemic_lm.text import read_corpus
from mnemic_lm.tokens import ByteCodec

SHAKESPEARE = Path(__file__).parents[4] / "shared/data/text_lm/shakespeare_val.txt.gz"


def test_each_stage_reads_its_own_text(text: Path) -> None:
    data = TextData([text / "one"], [text / "two"], segment_length=8, batch_size=2)
    data.setup("test")
    assert data.test_dataloader()[0].targets[0, 0, 0] == ord("c")  # without a test text that of the validation
    with pytest.raises(KeyError):
        _ = data.steps_per_epoch
    data.setup("fit")
    assert (data.steps_per_epoch, data.description) == (3, "one")
    assert len(data.val_dataloader()) == 6  # one segment a step


def test_training_without_validation_text_is_possible_but_not_the_reverse(text: Path) -> None:
    data = TextData([text])
    data.setup("fit")
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match=r"data\.val names no text"):
        data.setup("validate")


def test_loading_by_hand_needs_a_trainer_that_reloads(text: Path) -> None:
    data = TextData([text])
    data.setup("fit")
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs=1"):
        data.train_dataloader()


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="needs the shared text")
def test_training_on_a_real_text_lowers_its_bits_per_byte(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {
        "trainer": "{accelerator: cpu, max_steps: 40, enable_progress_bar: false, enable_model_summary: false}",
        "trainer.default_root_dir": tmp_path,
        "model": "{lr: 0.01, warmup_steps: 5, transformer: {dim: 32, num_layers: 1, num_heads: 2, ffn_dim: 64}}",
        "data": f"{{train: [{SHAKESPEARE}], segment_length: 32, batch_size: 8}}",
    }
    run = train.main("fit", [f"--{name}={value}" for name, value in options.items()])
    corpus = read_corpus([SHAKESPEARE], ByteCodec())
    assert score(run.model.model.eval(), corpus, 64, batch_size=32) < 5  # 8 at first
