import pytest
import torch

from mnemic_core.tasks import AssociativeRecall, CopyTask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("segments", [2, 3, 5])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_targets_of_the_last_segment_are_the_first_one(segments: int, is_reversed: bool) -> None:
    batch = CopyTask(symbols=4, is_reversed=is_reversed).sample(3, 6, segments=segments, generator=seeded())
    string = batch.tokens[0]
    assert torch.equal(batch.targets[-1], string.flip(1) if is_reversed else string)
    assert (batch.tokens[1:-1] == 4).all()
    assert (batch.tokens[-1] == 5).all()
    assert batch.valid.sum((1, 2)).tolist() == [0] * (segments - 1) + [18]


def test_the_target_of_a_key_is_its_value() -> None:
    task = AssociativeRecall(keys=5, values=3)
    batch = task.sample(20, pairs=4, segments=3, generator=seeded())
    for row in range(20):
        shown, asked = batch.tokens[0, row].tolist(), batch.tokens[-1, row].tolist()
        values = {key: value - task.keys for key, value in zip(shown[::2], shown[1::2], strict=True)}
        assert len(values) == 4
        assert [values[key] for key in asked[::2]] == batch.targets[-1, row, ::2].tolist()
        assert set(asked[1::2]) == {task.keys + task.values}
    assert torch.equal(batch.valid[-1], torch.tensor([True, False] * 4).expand(20, -1))
    assert not batch.valid[:-1].any()


@pytest.mark.parametrize("task", [CopyTask(), AssociativeRecall()], ids=["copy", "recall"])
def test_one_task_solves_any_lengths_in_any_order(task: CopyTask | AssociativeRecall) -> None:
    for length in (5, 7, 5, 1):
        batch = task.sample(2, length, segments=4, generator=seeded())
        assert batch.tokens.shape == batch.targets.shape == batch.valid.shape
        assert batch.tokens.max() < task.input_size
        assert 0 <= batch.targets.min() <= batch.targets.max() < task.output_size
    again = task.sample(2, 1, segments=4, generator=seeded())
    assert torch.equal(again.tokens, batch.tokens)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda: CopyTask().sample(2, 3, segments=1), "segments must be at least 2, got 1"),
        (lambda: CopyTask().sample(2, 0), "length or number of pairs must be at least 1, got 0"),
        (lambda: AssociativeRecall(3).sample(0, 2), "batch must be at least 1, got 0"),
        (lambda: AssociativeRecall(3).sample(2, 4), "at most the 3 keys, got 4; build the task with more keys"),
        (lambda: CopyTask(1), "symbols must be at least 2, got 1"),
        (lambda: AssociativeRecall(values=1), "values must be at least 2, got 1"),
    ],
)
def test_impossible_sizes_are_refused(sample: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample()
