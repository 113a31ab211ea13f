import re

import pytest
import torch
from lightning.pytorch import Trainer

from mnemic_algorithms.datamodule import AlgorithmData, RandomBatches
from mnemic_core.tasks import CHOMSKY_TASKS, ReverseString, create_task


def batches(**changes: int) -> RandomBatches:
    return RandomBatches(
        ReverseString(), **{"max_length": 5, "batch_size": 3, "count": 40, "seed": 0, "epoch": 0} | changes
    )


def test_a_batch_has_one_length_and_all_lengths_come() -> None:
    found = {batches()[index].inputs.shape for index in range(40)}
    assert found == {(3, length) for length in range(1, 6)}


@pytest.mark.parametrize("task", CHOMSKY_TASKS)
def test_the_content_of_a_batch_follows_from_seed_epoch_and_index(task: str) -> None:
    def inputs(seed: int, epoch: int, index: int) -> torch.Tensor:
        return RandomBatches(create_task(task), 30, 9, 4, seed, epoch)[index].inputs

    first = inputs(0, 0, 0)
    assert torch.equal(first, inputs(0, 0, 0))
    assert not any(
        other.shape == first.shape and torch.equal(first, other)
        for other in (inputs(1, 0, 0), inputs(0, 1, 0), inputs(0, 0, 1))
    )


def test_validation_strings_do_not_follow_from_the_seed() -> None:
    loaders = [AlgorithmData(val_lengths=(4, 7), val_strings=3, seed=seed).val_dataloader() for seed in (0, 1)]
    for first, second in zip(*loaders, strict=True):
        assert torch.equal(first.inputs, second.inputs)
    assert [len(batch.inputs[0]) for batch in loaders[0]] == [4, 7]


def test_an_epoch_has_so_many_steps() -> None:
    data = AlgorithmData(steps_per_epoch=6, batch_size=2)
    data.trainer = Trainer(reload_dataloaders_every_n_epochs=1, logger=False, accelerator="cpu")
    assert len(list(data.train_dataloader())) == len(data.train_dataloader()) == 6


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"task": "sorting"}, "task must be one of even_pairs"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"val_lengths": (5, 0)}, "val_lengths must be at least 1, got (5, 0)"),
    ],
)
def test_a_wrong_option_is_refused(option: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        AlgorithmData(**option)


def test_a_trainer_that_keeps_its_loader_is_refused() -> None:
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs=1"):
        AlgorithmData().train_dataloader()
