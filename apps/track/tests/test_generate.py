from pathlib import Path

import pytest
import torch

from mnemic_track import cli
from mnemic_vision.memotr.data import MotSequences


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_request:
        cli.main(list(arguments))
    assert exit_request.value.code == 0


def test_generated_folders_can_be_read(tmp_path: Path) -> None:
    run("generate", "--out", str(tmp_path), "--num_sequences", "2", "--num_frames", "3", "--size", "[64, 96]")
    sequences = MotSequences(tmp_path, require_ground_truth=True).sequences
    assert [(sequence.num_frames, sequence.image_size) for sequence in sequences] == [(3, (64, 96))] * 2


def test_a_file_without_weights_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {"det_anchor": torch.zeros(3, 4)}}, tmp_path / "official.pth")
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["convert", str(tmp_path / "official.pth"), str(tmp_path / "ours.safetensors")])
    assert exit_request.value.code == 2
    assert "does not fit this model" in capsys.readouterr().err
    assert not (tmp_path / "ours.safetensors").exists()
