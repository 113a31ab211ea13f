from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from trained_files import training_content

from mnemic_algorithms.checkpoints import AlgorithmCheckpoint, AlgorithmSettings
from mnemic_algorithms.machines import AlgorithmConfig, AlgorithmModel, MachineConfig
from mnemic_core import MemoryConfig
from mnemic_kit.devices import find_device


@pytest.fixture
def trained() -> AlgorithmCheckpoint:
    config = AlgorithmConfig(MachineConfig(MemoryConfig("stack_rnn"), hidden_dim=4), "reverse_string")
    return AlgorithmCheckpoint(AlgorithmModel(config).eval(), AlgorithmSettings(7), {"seed": 3})


def test_an_exported_machine_and_a_checkpoint_of_training_are_read_alike(
    trained: AlgorithmCheckpoint, tmp_path: Path
) -> None:
    trained.save(tmp_path / "a.safetensors")
    torch.save(training_content(trained), tmp_path / "last.ckpt")
    for path in (tmp_path / "a.safetensors", tmp_path / "last.ckpt"):
        loaded = AlgorithmCheckpoint.load(path)
        assert (loaded.model.config, loaded.settings, loaded.provenance) == (
            trained.model.config,
            trained.settings,
            trained.provenance,
        )
        inputs = loaded.model.task.sample(2, 5).inputs
        assert torch.equal(loaded.model(inputs), trained.model(inputs))


def test_a_machine_saved_to_a_folder_comes_back(trained: AlgorithmCheckpoint, tmp_path: Path) -> None:
    trained.model.save_pretrained(tmp_path)
    loaded = AlgorithmModel.from_pretrained(tmp_path)
    assert loaded.config == trained.model.config
    assert loaded.task.name == "reverse_string"


def test_damaged_machines_are_refused_in_one_line(trained: AlgorithmCheckpoint, tmp_path: Path) -> None:
    trained.save(tmp_path / "a.safetensors")
    torch.save(training_content(trained), tmp_path / "last.ckpt")
    (tmp_path / "damaged").mkdir()
    for name in ("a.safetensors", "last.ckpt"):
        check_refusals(AlgorithmCheckpoint.load, tmp_path / name, tmp_path / "damaged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "is a checkpoint of kind None, expected 'algorithms'"),
        ({"mnemic": {"kind": "memotr", "format_version": 1}}, "of kind 'memotr', expected 'algorithms'"),
        ({"mnemic": {"kind": "algorithms", "format_version": 1}}, "has format 1, which is no longer read"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=message):
        AlgorithmCheckpoint.load(tmp_path / "bad.ckpt")


def test_weights_of_another_machine_are_refused(trained: AlgorithmCheckpoint, tmp_path: Path) -> None:
    content = {"mnemic": trained.header(), "state_dict": {"model.head.weight": torch.zeros(1)}}
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"does not fit this model \(missing .*other shape: model\.head\.weight"):
        AlgorithmCheckpoint.load(tmp_path / "bad.ckpt")


def test_an_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent\.ckpt"):
        AlgorithmCheckpoint.load(tmp_path / "absent.ckpt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no usable CUDA device"):
        find_device("cuda")
