from pathlib import Path

import pytest
import torch

from mnemic_track import cli
from mnemic_track.network_config import read_network_config
from mnemic_vision.memotr import build_memotr
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint
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
        cli.main(["import-weights", str(tmp_path / "official.pth"), "--out", str(tmp_path / "ours.safetensors")])
    assert exit_request.value.code == 2
    assert "does not fit this model" in capsys.readouterr().err
    assert not (tmp_path / "ours.safetensors").exists()


def test_the_documented_line_converts_official_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = (
        "model: {config: {dim: 32, num_heads: 1, memory_heads: 1, ffn_dim: 8, encoder_layers: 1, decoder_layers: 2}}"
    )
    (tmp_path / "small.yaml").write_text(f"{config}\ndata: {{classes: [car, bus]}}\n")
    monkeypatch.chdir(tmp_path)
    network, settings = read_network_config("small.yaml")
    model = build_memotr(network)
    monkeypatch.setattr(
        "mnemic_vision.memotr.load_official", lambda built, path: built.load_state_dict(model.state_dict())
    )
    run("import-weights", "memotr_dancetrack.pth", "--config", "small.yaml", "--out", "dancetrack.safetensors")
    loaded = TrackerCheckpoint.load(Path("dancetrack.safetensors"))
    assert loaded.settings == settings
    assert loaded.settings.classes == ("car", "bus")
    assert all(value.equal(loaded.model.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "miss_tolerance", "num_classes"),
    [("memotr_dancetrack", 30, 1), ("memotr_mot17", 15, 1), ("memotr_bdd100k", 10, 8)],
)
def test_a_packaged_config_says_what_the_converted_tracker_needs(
    name: str, miss_tolerance: int, num_classes: int
) -> None:
    network, settings = read_network_config(name)
    assert settings.thresholds.miss_tolerance == miss_tolerance
    assert network.num_classes == len(settings.classes) == num_classes
