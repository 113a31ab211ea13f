from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mnemic_vision.memotr.data import (
    Annotations,
    ClipAugmentation,
    ClipDataset,
    GeneratedSequences,
    TargetRows,
    TrackingSequence,
    collate_clips,
)
from mnemic_vision.memotr.data.clips import clip_frames

PLAIN = ClipAugmentation(scales=(32,), max_size=64, crop_prob=0.0, flip_prob=0.0, hsv_gains=(0, 0, 0))
RANDOM = ClipAugmentation(scales=(64, 96), max_size=128, crop_scales=(96,), crop_size=(48, 96))


class NumberedFrames:
    """Every frame is filled with its number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((3, 32, 48), index, dtype=torch.uint8)


def numbered(
    count: int, name: str = "n", first_id: int = 0, labeled: list[bool] | None = None, *, are_stills: bool = False
) -> TrackingSequence:
    """Make a sequence with one object a frame."""
    boxes = np.tile(np.array([[4, 4, 16, 16]], dtype=np.float32), (count, 1))
    ids = np.arange(first_id, first_id + count)
    rows = TargetRows(ids, np.zeros(count, dtype=np.int64), boxes, np.ones(count, dtype=np.float32))
    truth = Annotations.from_rows(np.arange(count), rows, np.array(labeled or [True] * count))
    return TrackingSequence(name, NumberedFrames(count), (32, 48), 10.0, truth, are_stills)


def frame_numbers(dataset: ClipDataset, index: int) -> list[int]:
    """Read the numbers off the pixels of a plain clip."""
    return [round((0.229 * float(image[0].mean()) + 0.485) * 255) for image in dataset[index].images]


@pytest.mark.parametrize(("length", "expected"), [(1, 7), (2, 6), (4, 4), (7, 1)])
def test_every_frame_with_enough_successors_starts_a_clip(length: int, expected: int) -> None:
    dataset = ClipDataset([numbered(7)], length, augmentation=PLAIN)
    assert len(dataset) == expected
    assert [frame_numbers(dataset, index)[0] for index in range(expected)] == list(range(expected))


@pytest.mark.parametrize("length", [2, 3, 5])
@pytest.mark.parametrize("start", [0, 9, 15])
def test_intervals_are_those_of_the_formula(length: int, start: int) -> None:
    sequence, maximum = numbered(20), 6
    limit = min(maximum, (19 - start) // (length - 1))
    found = set()
    for seed in range(100):
        frames = clip_frames(sequence, start, length, maximum, np.random.default_rng(seed))
        steps = set(np.diff(frames).tolist())
        assert frames[0] == start
        assert len(steps) == 1
        found |= steps
    assert found == set(range(1, limit + 1))


def test_an_unlabeled_frame_makes_the_clip_dense() -> None:
    sequence = numbered(6, labeled=[True, True, True, False, True, True])
    dataset = ClipDataset([sequence], 2, max_interval=3, augmentation=PLAIN)
    assert [frame_numbers(dataset, index)[0] for index in range(len(dataset))] == [0, 1, 4]
    seen = {tuple(clip_frames(sequence, 0, 2, 3, np.random.default_rng(seed))) for seed in range(50)}
    assert seen == {(0, 1), (0, 2)}


def test_there_is_nothing_beyond_the_last_clip() -> None:
    dataset = ClipDataset([numbered(3)], 2, augmentation=PLAIN)
    assert len(list(dataset)) == 2  # type: ignore[call-overload]
    for index in (-1, 2):
        with pytest.raises(IndexError, match="of 2"):
            dataset[index]


def test_the_clip_length_follows_the_epoch() -> None:
    dataset = ClipDataset([numbered(8), numbered(3)], {0: 2, 6: 3, 10: 5}, augmentation=PLAIN)
    lengths = []
    for epoch in (0, 5, 6, 9, 10, 99):
        dataset.set_epoch(epoch)
        lengths.append((dataset.length, len(dataset)))
    assert lengths == [(2, 9), (2, 9), (3, 7), (3, 7), (5, 4), (5, 4)]


@pytest.fixture(scope="module")
def world() -> list[TrackingSequence]:
    return GeneratedSequences(seed=2, num_sequences=2, num_frames=8, size=(96, 128)).sequences


def test_a_clip_depends_on_seed_epoch_and_index_alone(world: list[TrackingSequence]) -> None:
    first, second = (ClipDataset(world, 3, augmentation=RANDOM, seed=5) for _ in range(2))
    first.set_epoch(4)
    second.set_epoch(4)
    for index in (3, 0, 3):
        first[1]  # what was loaded before does not matter
        torch.testing.assert_close(first[index].images, second[index].images, rtol=0, atol=0)
    second.set_epoch(5)
    other = ClipDataset(world, 3, augmentation=RANDOM, seed=6)
    other.set_epoch(4)
    for changed in (second, other):
        assert any(
            changed[index].images.shape != first[index].images.shape
            or not torch.equal(changed[index].images, first[index].images)
            for index in range(3)
        )


def test_loader_processes_give_the_same_batches(world: list[TrackingSequence]) -> None:
    dataset = ClipDataset(world, 2, augmentation=RANDOM)
    batches = [list(DataLoader(dataset, 4, collate_fn=collate_clips, num_workers=workers)) for workers in (0, 2)]
    for here, there in zip(*batches, strict=True):
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.padding, there.padding)


def test_identities_are_unique_over_sequences() -> None:
    sequences = [numbered(4), numbered(5, first_id=100), numbered(3, first_id=-7)]
    dataset = ClipDataset(sequences, 1, augmentation=PLAIN)
    ids = [int(dataset[index].targets[0].ids) for index in range(len(dataset))]
    assert len(set(ids)) == 12


def test_stills_become_clips_of_one_picture() -> None:
    dataset = ClipDataset([numbered(3, are_stills=True)], 4, augmentation=PLAIN)
    assert len(dataset) == 3
    assert frame_numbers(dataset, 2) == [2, 2, 2, 2]


def test_a_batch_is_padded_after_normalization_and_ordered_by_frame(world: list[TrackingSequence]) -> None:
    dataset = ClipDataset(world, 2, augmentation=RANDOM)
    clips = [dataset[index] for index in range(4)]
    batch = collate_clips(clips)
    height, width = batch.images.shape[-2:]
    assert batch.images.shape == (4, 2, 3, height, width)
    assert (height % 32, width % 32) == (0, 0)
    for sample, clip in enumerate(clips):
        rows, columns = clip.images.shape[-2:]
        assert torch.equal(batch.images[sample, :, :, :rows, :columns], clip.images)
        assert not batch.padding[sample, :rows, :columns].any()
        assert batch.padding[sample].sum() == height * width - rows * columns
        assert (batch.images[sample].masked_select(batch.padding[sample]) == 0).all()
        assert [batch.targets[frame][sample] for frame in range(2)] == clip.targets


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: ClipDataset([numbered(3)], 4), "no sequence has 4 labeled frames in a row"),
        (lambda: ClipDataset([numbered(3)], 0), "length must give the number of frames"),
        (lambda: ClipDataset([numbered(3)], {2: 2}), "length must give the number of frames"),
        (lambda: ClipDataset([numbered(3)], max_interval=0), "max_interval must be at least 1"),
        (lambda: ClipDataset([TrackingSequence("a", NumberedFrames(3), (32, 48), 10.0)]), "there is none for a"),
    ],
)
def test_unusable_settings_are_refused(change: Callable[[], ClipDataset], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()


def test_all_tensors_of_a_batch_move_to_another_device(world: list[TrackingSequence]) -> None:
    batch = collate_clips([ClipDataset(world, 2, augmentation=RANDOM)[0]]).to("meta")
    assert {batch.images.device.type, batch.padding.device.type} == {"meta"}
    assert {tensor.device.type for frame in batch.targets for tensor in vars(frame[0]).values()} == {"meta"}


def test_clips_of_different_lengths_make_no_batch() -> None:
    clips = [ClipDataset([numbered(4)], length, augmentation=PLAIN)[0] for length in (2, 3)]
    with pytest.raises(ValueError, match=r"must have the same length, got \[2, 3\]"):
        collate_clips(clips)
