import pytest
import torch
from torch.utils.data import TensorDataset

from mnemic_kit.data import EpochShare, ResumableLoader


def test_a_loader_continues_where_another_one_stopped() -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(TensorDataset(torch.arange(10)), EpochShare(3, seed=5), 2, list)

    whole, first, second = list(loader()), loader(), loader()
    begun = iter(first)
    used = [next(begun), next(begun)]
    second.load_state_dict(first.state_dict())
    assert len(second) == len(whole) == 5
    assert used + list(second) == whole


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [
        ResumableLoader(TensorDataset(torch.arange(8)), EpochShare(0, 5, num_replicas=2, rank=rank), 2, list)
        for rank in (0, 1)
    ]
    seen = [int(item[0]) for part in parts for batch in part for item in batch]
    assert sorted(seen) == list(range(8))


def test_a_state_of_another_epoch_is_refused() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), EpochShare(2, seed=5), 2, list)
    with pytest.raises(ValueError, match="epoch 2, the checkpoint of epoch 0"):
        loader.load_state_dict({"epoch": 0, "used": 1})


def test_the_rest_of_an_epoch_is_refused_where_it_would_be_other_items() -> None:
    def loader(count: int = 20, batch: int = 2, processes: int = 1, seed: int = 5) -> ResumableLoader:
        return ResumableLoader(TensorDataset(torch.arange(count)), EpochShare(3, seed, processes), batch, list)

    first = loader()
    next(iter(first))
    for other in (loader(count=22), loader(batch=4), loader(processes=2), loader(seed=6)):
        with pytest.raises(ValueError, match="20 items by 2 on 1 processes with seed 5, and this run has"):
            other.load_state_dict(first.state_dict())


def test_another_batch_size_can_begin_with_an_epoch() -> None:
    def loader(epoch: int, batch: int) -> ResumableLoader:
        return ResumableLoader(TensorDataset(torch.arange(20)), EpochShare(epoch, seed=5), batch, list)

    second = loader(1, 4)
    second.load_state_dict(loader(0, 2).state_dict())
    assert len(list(second)) == 5


def test_the_epoch_after_one_that_was_cut_short_begins_with_its_first_batch() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), EpochShare(1, seed=5), 2, list)
    loader.load_state_dict({"epoch": 0, "used": 1})
    assert len(list(loader)) == 2


def test_too_few_clips_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="3 items are too few for one batch of 4"):
        ResumableLoader(TensorDataset(torch.arange(3)), EpochShare(0, seed=5), 4, list)


def test_the_order_is_that_of_the_share_whatever_epoch_is_set_later() -> None:
    """Lightning sets the epoch before after a restart from the last batch of an epoch."""
    loaders = [ResumableLoader(TensorDataset(torch.arange(10)), EpochShare(1, seed=5), 2, list) for _ in range(2)]
    loaders[1].sampler.set_epoch(0)
    assert list(loaders[0]) == list(loaders[1])
