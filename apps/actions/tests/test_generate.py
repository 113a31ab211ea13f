import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from action_checkpoints import command, mistake
from golden_files import golden_cases

from mnemic_actions import cli
from mnemic_actions.network_config import read_network_config
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import read_annotated_streams
from mnemic_vision.matr.weights import convert_official

GOLDEN = Path(__file__).parents[3] / "packages/vision/tests/golden"
OFFICIAL = """
model:
  config: {modalities: [12, 12], dim: 32, ffn_dim: 48, encoder_layers: 2, encoder_heads: 4, decoder_layers: 2,
    decoder_heads: 2, window: 8, num_queries: 4, capacity: 3}
data: {classes: [a, b, c, d, e]}
"""
CONFIG = """
model:
  config: {modalities: [4, 2], dim: 8, ffn_dim: 8, encoder_layers: 1, encoder_heads: 2, decoder_layers: 1,
    decoder_heads: 2, window: 8, num_queries: 2, capacity: 2, keeps_newest: true, standardizes: true}
  settings: {frame_rate: 4.0}
data: {classes: [run, jump]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path / "small.yaml"


def test_generated_streams_can_be_read(tmp_path: Path) -> None:
    sizes = ["--num_streams", 3, "--num_val_streams", 2, "--num_frames", 50, "--num_classes", 2, "--num_channels", 5]
    assert command("generate", "--out", tmp_path / "new" / "made", *sizes) == 0
    for subset, number in (("train", 3), ("val", 2)):
        streams = read_annotated_streams(tmp_path / "new" / "made", subset)
        assert [stream.load().shape for stream in streams] == [(50, 5)] * number
    assert streams.classes == ("class_0", "class_1")


def test_a_size_without_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "num_frames must be at least 1, got 0" in mistake(
        capsys, "generate", "--out", tmp_path / "made", "--num_frames", 0
    )


def test_official_pickles_become_files_of_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"rgb": np.ones((3, 4), np.float32), "flow": np.zeros((3, 4), np.float32)}
    (tmp_path / "test.pickle").write_bytes(pickle.dumps({"video_test_1": arrays}))
    assert command("import-data", tmp_path / "test.pickle", "--out", tmp_path / "out") == 0
    assert "1 videos" in capsys.readouterr().out
    assert np.array_equal(np.load(tmp_path / "out" / "rgb" / "video_test_1.npy"), arrays["rgb"])


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evil.pickle").write_bytes(pickle.dumps({"video": cli.Program}))
    line = mistake(capsys, "import-data", tmp_path / "evil.pickle", "--out", tmp_path / "out")
    assert "is not a pickle of arrays alone" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.golden
def test_official_weights_become_a_checkpoint_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = golden_cases("matr", GOLDEN, "stream")[0]
    (tmp_path / "official.yaml").write_text(OFFICIAL)
    torch.save({"state_dict": {f"module.{name}": value for name, value in case.state.items()}}, tmp_path / "best.pth")
    out = tmp_path / "ours.safetensors"
    assert command("import-weights", tmp_path / "best.pth", "--config", tmp_path / "official.yaml", "--out", out) == 0
    weights, unused = convert_official(case.state)
    assert capsys.readouterr().out.splitlines()[1:] == [f"module.{name}" for name in unused]
    loaded = LocalizerCheckpoint.load(out)
    assert not loaded.model.config.masks_empty
    assert all(value.equal(loaded.model.state_dict()[name]) for name, value in weights.items())
    np.savez(tmp_path / "s.npz", rgb=np.ones((20, 12), np.float32), flow=np.ones((20, 12), np.float32))
    assert command("run", tmp_path / "s.npz", "--checkpoint", out, "--out", tmp_path / "out") == 0


def test_a_file_without_weights_is_not_converted(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {"module.flag_token": torch.zeros(1, 1, 8)}}, tmp_path / "official.pth")
    out = tmp_path / "ours.safetensors"
    line = mistake(capsys, "import-weights", tmp_path / "official.pth", "--config", config, "--out", out)
    assert "does not fit this model" in line
    assert not out.exists()


def test_the_packaged_config_of_thumos14_has_what_released_weights_need() -> None:
    network, settings = read_network_config("matr_thumos14")
    assert (network.num_features, settings.inputs.channels) == (4096, 4096)
    assert (network.num_classes, len(settings.classes), settings.classes[0]) == (20, 20, "BaseballPitch")


def test_classes_can_be_those_of_annotations(config: Path, data: Path) -> None:
    _, settings = read_network_config(str(config), data / "annotations.json")
    assert settings.classes == ("class_0", "class_1")


def test_the_demo_shows_everything(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("demo", "--out", tmp_path / "demo", "--checkpoint", checkpoint, "--num_frames", 60) == 0
    assert {path.suffix for path in (tmp_path / "demo").iterdir()} >= {".json", ".jsonl"}
    assert "| class " in capsys.readouterr().out
