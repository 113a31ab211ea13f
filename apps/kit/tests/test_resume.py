import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from mnemic_kit.resume import ResumableLoader, WholeFileIO, seed_step


def test_a_loader_continues_where_another_one_stopped() -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(TensorDataset(torch.arange(10)), 3, 2, seed=5, collate=list)

    whole, first, second = list(loader()), loader(), loader()
    begun = iter(first)
    used = [next(begun), next(begun)]
    second.load_state_dict(first.state_dict())
    assert len(second) == len(whole) == 5
    assert used + list(second) == whole


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [
        ResumableLoader(TensorDataset(torch.arange(8)), 0, 2, seed=5, collate=list, num_replicas=2, rank=rank)
        for rank in (0, 1)
    ]
    seen = [int(item[0]) for part in parts for batch in part for item in batch]
    assert sorted(seen) == list(range(8))


def test_a_state_of_another_epoch_is_refused() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), 2, 2, seed=5, collate=list)
    with pytest.raises(ValueError, match="epoch 2, the checkpoint of epoch 0"):
        loader.load_state_dict({"epoch": 0, "used": 1})


def test_the_epoch_after_one_that_was_cut_short_begins_with_its_first_batch() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), 1, 2, seed=5, collate=list)
    loader.load_state_dict({"epoch": 0, "used": 1})
    assert len(list(loader)) == 2


def test_too_few_clips_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="3 clips are too few for one batch of 4"):
        ResumableLoader(TensorDataset(torch.arange(3)), 0, 4, seed=5, collate=list)


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeFileIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(AttributeError):
        WholeFileIO().save_checkpoint({"step": lambda: 2}, path)
    assert torch.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


def test_the_noise_of_a_step_follows_from_its_number() -> None:
    def noise(*place: int) -> torch.Tensor:
        seed_step(*place)
        return torch.rand(3)

    assert torch.equal(noise(0, 1, 2), noise(0, 1, 2))
    assert not torch.equal(noise(0, 1, 2), noise(0, 2, 1))


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
