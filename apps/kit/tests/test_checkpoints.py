import pickle
from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from safetensors.torch import save_file

from mnemic_kit.checkpoints import WholeFileIO


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeFileIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(AttributeError):
        WholeFileIO().save_checkpoint({"step": lambda: 2}, path)
    assert torch.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["truncated", "stranger"])
def test_a_damaged_or_foreign_checkpoint_is_refused_and_runs_no_code(tmp_path: Path, damage: str) -> None:
    file, mark = tmp_path / "bad.ckpt", tmp_path / "mark"
    WholeFileIO().save_checkpoint({"state_dict": {"weight": torch.zeros(100)}}, file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        file.write_bytes(pickle.dumps(_Payload(mark)))
    with pytest.raises(ValueError, match=r"bad\.ckpt"):
        WholeFileIO().load_checkpoint(file)
    assert not mark.exists()


def test_damaged_checkpoints_are_refused_in_one_line(tmp_path: Path) -> None:
    weights = {"model.weight": torch.zeros(2, 3), "model.count": torch.tensor(3)}
    content = {"epoch": 1, "global_step": 4, "loops": {"fit_loop": {}}, "state_dict": weights}
    torch.save(content | {"pytorch-lightning_version": "2.6.6", "mnemic": {"kind": "x"}}, tmp_path / "last.ckpt")
    (tmp_path / "damaged").mkdir()
    check_refusals(WholeFileIO().load_checkpoint, tmp_path / "last.ckpt", tmp_path / "damaged")


def test_an_exported_model_is_not_resumed_from(tmp_path: Path) -> None:
    save_file({"model.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"model\.safetensors is not a checkpoint of training: give one that fit wrote"
    ):
        WholeFileIO().load_checkpoint(tmp_path / "model.safetensors")


class _Payload:
    """Makes a file when it is unpickled the careless way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)
