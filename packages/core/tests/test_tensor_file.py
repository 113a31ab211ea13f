from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mnemic_core.tensor_file import read_tensors, replacing, write_tensors


def test_written_snapshots_are_read(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, requires_grad=True)
    write_tensors(tmp_path / "a", {"transposed": weight.T}, {"class": "Sums"})
    assert torch.equal(load_file(tmp_path / "a")["transposed"], weight.T)
    assert read_tensors(tmp_path / "a")[1] == {"class": "Sums"}
    write_tensors(tmp_path / "a", {"weight": weight})
    assert read_tensors(tmp_path / "a")[1] == {}


def test_a_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_text("old")

    def fill_the_disk() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere.*make room or choose another folder"):
        write_tensors(tmp_path / "nowhere" / "a", {"x": torch.zeros(1)})
