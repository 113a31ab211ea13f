import numpy as np
import pytest
import torch
from torch import Tensor

from mnemic_core.classifier_weights import IMAGENET_MEAN, IMAGENET_STD
from mnemic_vision.memotr.data import ClipAugmentation, TargetRows
from mnemic_vision.memotr.data.augment import RawClip, clip_boxes, crop, flip, jitter, resize, shift_still

SMALL = ClipAugmentation(
    scales=(64, 80), max_size=100, crop_scales=(72, 96), crop_size=(48, 80), hsv_gains=(0, 0, 0), reverse_prob=0.5
)
BOX = (20, 12, 30, 24)  # left, top, width, height


def red_box_clip(length: int = 2, step: int = 8) -> RawClip:
    """A red rectangle on blue that moves to the right."""
    images = torch.zeros(length, 3, 60, 90, dtype=torch.uint8)
    images[:, 2] = 255
    rows = []
    for frame, image in enumerate(images):
        left, top, width, height = BOX[0] + frame * step, *BOX[1:]
        image[:, top : top + height, left : left + width] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
        box = np.array([[left, top, width, height]], dtype=np.float32)
        rows.append(TargetRows(np.array([9]), np.array([0]), box, np.ones(1, dtype=np.float32)))
    return RawClip(images, rows)


def red_box(image: Tensor) -> tuple[int, int, int, int]:
    """Find the red pixels."""
    red = image[0].float() > image[2].float()
    down, across = red.any(dim=1).nonzero(), red.any(dim=0).nonzero()
    left, top = int(across.min()), int(down.min())
    return left, top, int(across.max()) + 1 - left, int(down.max()) + 1 - top


@pytest.mark.parametrize(
    "change",
    [
        flip,
        lambda clip: resize(clip, 30),
        lambda clip: resize(clip, 80, max_size=100),
        lambda clip: crop(clip, (20, 25, 30, 60)),
        lambda clip: crop(flip(resize(clip, 75)), (10, 5, 50, 70)),
    ],
)
def test_boxes_stay_where_the_pixels_are(change) -> None:  # type: ignore[no-untyped-def]
    changed = change(red_box_clip())
    for image, rows in zip(changed.images, changed.rows, strict=True):
        np.testing.assert_allclose(rows.boxes[0], red_box(image), atol=1.01)


@pytest.mark.parametrize("seed", range(25))
def test_random_augmentation_moves_boxes_with_the_pixels(seed: int) -> None:
    clip = SMALL(red_box_clip(), np.random.default_rng(seed))
    height, width = clip.images.shape[-2:]
    assert min(height, width) <= 80
    assert max(height, width) <= 100
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    for image, target in zip(clip.images, clip.targets, strict=True):
        if len(target.ids):
            cx, cy, w, h = (target.boxes[0] * torch.tensor([width, height, width, height])).tolist()
            found = red_box((image * deviation + mean).clamp(0, 1))
            np.testing.assert_allclose([cx - w / 2, cy - h / 2, w, h], found, atol=2.01)


def test_all_frames_of_a_clip_change_alike() -> None:
    still = red_box_clip(length=3, step=0)
    random = ClipAugmentation(scales=(64, 80), max_size=100, crop_scales=(72, 96), crop_size=(48, 80))
    for seed in range(10):
        clip = random(still, np.random.default_rng(seed))
        assert torch.equal(clip.images[0], clip.images[1])
        assert torch.equal(clip.images[0], clip.images[2])
        assert torch.equal(clip.targets[0].boxes, clip.targets[2].boxes)


def test_sizes_are_those_of_the_scales() -> None:
    clip = red_box_clip(1)
    assert resize(clip, 30).size == (30, 45)
    assert resize(clip, 80, max_size=100).size == (67, 100)
    plain = ClipAugmentation(scales=(33,), max_size=99, crop_prob=0.0)
    assert plain(clip, np.random.default_rng(0)).images.shape[-2:] == (33, 50)


def rows_of(*boxes: tuple[float, float, float, float]) -> TargetRows:
    count = len(boxes)
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return TargetRows(np.arange(count), np.zeros(count, dtype=np.int64), array, np.ones(count, dtype=np.float32))


def test_a_crop_cuts_boxes_drops_those_outside_and_may_keep_overflow() -> None:
    rows = rows_of((0, 0, 30, 30), (40, 40, 10, 10), (0, 0, 10, 10), (25, 25, 5, 5))
    clip = RawClip(torch.zeros(1, 3, 60, 60, dtype=torch.uint8), [rows])
    cut = crop(clip, (10, 10, 20, 20)).rows[0]
    overflowing = crop(clip, (10, 10, 20, 20), overflow_boxes=True).rows[0]
    assert cut.ids.tolist() == overflowing.ids.tolist() == [0, 3]
    assert cut.boxes.tolist() == [[0, 0, 20, 20], [15, 15, 5, 5]]
    assert overflowing.boxes.tolist() == [[-10, -10, 30, 30], [15, 15, 5, 5]]


def test_clipped_boxes_lie_inside_the_image() -> None:
    boxes = np.array([[-5, 2, 10, 50], [70, 2, 10, 10], [3, 4, 5, 6]], dtype=np.float32)
    assert clip_boxes(boxes, (40, 60)).tolist() == [[0, 2, 5, 38], [60, 2, 0, 10], [3, 4, 5, 6]]


def test_frames_without_objects_give_empty_targets() -> None:
    clip = RawClip(torch.zeros(2, 3, 60, 90, dtype=torch.uint8), [rows_of(), rows_of(BOX)])
    targets = SMALL(clip, np.random.default_rng(1)).targets
    assert sorted(len(target.ids) for target in targets) == [0, 1]
    assert all(target.boxes.shape[1] == 4 for target in targets)


def test_boxes_outside_the_image_are_dropped_and_those_partly_outside_stay_whole() -> None:
    plain = ClipAugmentation(scales=(60,), crop_prob=0.0, flip_prob=0.0)
    rows = rows_of((-10, 10, 20, 30), (-10, 10, 10, 30), (90, 0, 5, 5))
    target = plain(RawClip(torch.zeros(1, 3, 60, 90, dtype=torch.uint8), [rows]), np.random.default_rng(0)).targets[0]
    assert target.ids.tolist() == [0]
    torch.testing.assert_close(target.boxes, torch.tensor([[0.0, 25 / 60, 20 / 90, 0.5]]))


def test_a_reversed_clip_runs_backwards() -> None:
    backwards = ClipAugmentation(scales=(60,), crop_prob=0.0, flip_prob=0.0, hsv_gains=(0, 0, 0), reverse_prob=1.0)
    lefts = [float(target.boxes[0, 0]) for target in backwards(red_box_clip(3), np.random.default_rng(0)).targets]
    assert lefts == sorted(lefts, reverse=True)


def test_jitter_stays_within_its_gains_and_sometimes_does_nothing() -> None:
    gray = RawClip(torch.full((1, 3, 4, 4), 100, dtype=torch.uint8), [rows_of()])
    values = {int(jitter(gray, (0, 0, 30), np.random.default_rng(seed)).images[0, 0, 0, 0]) for seed in range(80)}
    assert 71 <= min(values) < 80
    assert 120 < max(values) <= 129
    assert 100 in values


def test_hue_turns_around_the_circle() -> None:
    red = RawClip(torch.tensor([255, 0, 0], dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, 4, 4), [rows_of()])
    colors = [jitter(red, (5, 0, 0), np.random.default_rng(seed)).images[0, :, 0, 0].tolist() for seed in range(40)]
    assert any(green > 0 for _, green, _ in colors)
    assert any(blue > 0 for _, _, blue in colors)
    assert all(max(green, blue) <= 48 for _, green, blue in colors)


@pytest.mark.parametrize("seed", range(12))
def test_a_shifted_still_moves_steadily_and_boxes_follow(seed: int) -> None:
    clip = red_box_clip(1)
    shifted = shift_still(clip.images[0], clip.rows[0], 3, np.random.default_rng(seed), max_shift=6)
    assert shifted.images.shape == (3, 3, 60, 90)
    for image, rows in zip(shifted.images, shifted.rows, strict=True):
        np.testing.assert_allclose(clip_boxes(rows.boxes, (60, 90))[0], red_box(image), atol=1.6)


def test_stills_shift_to_all_sides_alike() -> None:
    clip, moves = red_box_clip(1), []
    for seed in range(200):
        boxes = [
            rows.boxes[0, :2]
            for rows in shift_still(clip.images[0], clip.rows[0], 2, np.random.default_rng(seed), max_shift=6).rows
        ]
        moves.append(boxes[1] - boxes[0])
    assert np.abs(np.mean(np.sign(moves), axis=0)).max() < 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": (9, 5)}, "crop_size must be"),
        ({"scales": ()}, "scales must be"),
        ({"crop_scales": (0,)}, "crop_scales"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipAugmentation(**changes)  # type: ignore[arg-type]
