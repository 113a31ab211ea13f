from pathlib import Path

import pytest

from mnemic_actions.commands.demo import demo
from mnemic_actions.train_demo import train_demo
from mnemic_vision.matr import LocalizerCheckpoint

SMALL = ("--trainer.max_epochs=1", "--data.windows_per_epoch=64", "--trainer.accelerator=cpu")


@pytest.mark.slow
def test_checkpoints_are_made_of_the_data_there_is_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_demo(tmp_path / "runs", tmp_path / "no data", tmp_path, SMALL)
    assert "actions_utkinect: left out, there is no folder" in capsys.readouterr().out
    made = LocalizerCheckpoint.load(tmp_path / "generated.safetensors")
    assert made.provenance["command"] == "make train-demo-actions"
    demo(out=tmp_path / "demo", checkpoint=tmp_path / "generated.safetensors", num_frames=100)
    assert (tmp_path / "demo" / "generated_7_000.png").exists()
