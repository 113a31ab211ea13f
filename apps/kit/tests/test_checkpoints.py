import pickle
from pathlib import Path

import pytest
import torch

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


class _Payload:
    """Makes a file when it is unpickled the careless way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)
