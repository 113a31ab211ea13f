from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.masks import fill_boxes, pair_by_stem, read_mask

SQUARE = np.zeros((40, 60), dtype=np.uint8)
SQUARE[10:20, 30:50] = 255
INSIDE = torch.from_numpy(SQUARE > 0)


def written(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    "values",
    [SQUARE, SQUARE // 255, SQUARE // 85, np.stack([SQUARE, 0 * SQUARE, 0 * SQUARE], -1), SQUARE > 0],
    ids=["0 and 255", "0 and 1", "a class number", "red", "1 bit"],
)
def test_every_way_to_store_a_mask_gives_the_same_one(tmp_path: Path, values: np.ndarray) -> None:
    assert torch.equal(read_mask(written(tmp_path / "a.png", values), 40, 60), INSIDE)


def test_grey_levels_count_from_half_of_the_range_on(tmp_path: Path) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    assert torch.equal(read_mask(written(tmp_path / "a.png", levels), 8, 256), torch.from_numpy(levels >= 128))


def test_noise_of_an_empty_jpeg_mask_is_not_anomalous(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (40, 60), dtype=np.uint8)
    assert not read_mask(written(tmp_path / "a.jpg", noise), 40, 60).any()


def test_a_jpeg_mask_is_the_lossless_one_but_for_its_border(tmp_path: Path) -> None:
    mask = read_mask(written(tmp_path / "a.jpg", SQUARE), 40, 60)
    assert (mask != INSIDE).sum() < 12


def test_a_mask_of_another_size_is_resized_without_new_values(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", SQUARE)
    assert torch.equal(read_mask(path, 80, 120), INSIDE.repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert read_mask(path, 20, 30).sum() == INSIDE.sum() / 4
    assert read_mask(path, 27, 40).any()  # 26.7 rows, rounded


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mask .*a.png has 60x40 pixels, its image 40x60; they need the same ratio"):
        read_mask(written(tmp_path / "a.png", SQUARE), 60, 40)


def test_boxes_are_filled_up_to_the_edge_of_the_image() -> None:
    mask = fill_boxes([(30.0, 10.0, 20.0, 10.0), (-5.0, -5.0, 7.4, 7.4), (55.0, 38.0, 100.0, 100.0)], 40, 60)
    expected = INSIDE.clone()
    expected[:2, :2] = expected[38:, 55:] = True
    assert torch.equal(mask, expected)


def test_pairs_by_stem_with_or_without_suffix() -> None:
    images = [Path("i/a.jpg"), Path("i/b.jpg"), Path("i/c.jpg")]
    pairs = pair_by_stem([Path("m/a.png"), Path("m/b_mask.png")], images)
    assert pairs == {images[0]: Path("m/a.png"), images[1]: Path("m/b_mask.png")}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (["m/d_mask.png"], "mask m/d_mask.png has no image"),
        (["m/a.png", "m/a_mask.png"], "i/a.jpg has two masks, m/a.png and m/a_mask.png"),
        (["m/b.png"], "mask m/b.png could belong to i/b.jpg or j/b.jpg"),
    ],
)
def test_a_mask_without_one_image_is_named(masks: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pair_by_stem([Path(mask) for mask in masks], [Path("i/a.jpg"), Path("i/b.jpg"), Path("j/b.jpg")])
