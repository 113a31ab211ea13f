from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from torch.testing import assert_close

from mnemic_kit.averaging import average_checkpoints
from mnemic_kit.parse import call
from mnemic_speech.conformer_ntm import Recognizer
from mnemic_transcribe.commands.average import average


def write(path: Path, step: int, dim: int = 3, **facts: object) -> Path:
    """Write a checkpoint whose weights are random and whose counter is its step."""
    torch.manual_seed(step)
    weights = {"model.weight": torch.randn(2, dim), "model.norm.num_batches_tracked": torch.tensor(step)}
    header = {
        "kind": "conformer_ntm",
        "format_version": 2,
        "config": {"dim": dim},
        "provenance": {"step": step, "seed": 7},
        **facts,
    }
    torch.save({"state_dict": weights, "mnemic": header, "epoch": 1}, path)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{step}.ckpt", step) for step in (30, 10, 20)]


def test_the_average_is_the_mean_of_the_weights_and_the_rest_of_the_newest(paths: list[Path], tmp_path: Path) -> None:
    average_checkpoints(paths, tmp_path / "mean.ckpt")
    made = torch.load(tmp_path / "mean.ckpt")
    weights = [torch.load(path)["state_dict"]["model.weight"] for path in paths]
    assert_close(made["state_dict"]["model.weight"], torch.stack(weights).mean(0))
    assert made["state_dict"]["model.norm.num_batches_tracked"] == 30
    assert made["mnemic"]["provenance"] == {"step": 30, "seed": 7, "averaged_steps": [10, 20, 30]}
    assert made["epoch"] == 1


def test_the_average_of_one_is_that_one(paths: list[Path], tmp_path: Path) -> None:
    average_checkpoints(paths[:1], tmp_path / "same.ckpt")
    one, same = torch.load(paths[0]), torch.load(tmp_path / "same.ckpt")
    assert_close(same["state_dict"], one["state_dict"], atol=0.0, rtol=0.0)


@pytest.mark.parametrize("other", [{"dim": 4}, {"tokenizer": {"kind": "char", "alphabet": "ab"}}])
def test_checkpoints_of_different_networks_are_refused(
    paths: list[Path], tmp_path: Path, other: dict[str, object]
) -> None:
    paths.append(write(tmp_path / "other.ckpt", 40, **other))
    with pytest.raises(ValueError, match=r"other\.ckpt is of another network"):
        average_checkpoints(paths, tmp_path / "mean.ckpt")


def test_a_foreign_file_and_no_file_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"foreign\.ckpt is a checkpoint of kind None, expected 'conformer_ntm'"):
        average_checkpoints([tmp_path / "foreign.ckpt"], tmp_path / "mean.ckpt", Recognizer)
    with pytest.raises(ValueError, match="expected checkpoints to average, got none"):
        average_checkpoints([], tmp_path / "mean.ckpt")


def test_the_command_takes_files_by_their_names(paths: list[Path], tmp_path: Path) -> None:
    call(average, "average", ["--checkpoints", *map(str, paths), "--out", str(tmp_path / "mean.ckpt")])
    assert torch.load(tmp_path / "mean.ckpt")["mnemic"]["provenance"]["averaged_steps"] == [10, 20, 30]
    with pytest.raises(ValueError, match=r"is a \.ckpt file"):
        call(average, "average", ["--checkpoints", str(paths[0]), "--out", "mean.safetensors"])


def test_damaged_checkpoints_are_refused_in_one_line(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()

    def read(path: Path) -> None:
        average_checkpoints([paths[1], path], tmp_path / "mean.ckpt", Recognizer)

    check_refusals(read, paths[0], tmp_path / "damaged", count=20)
