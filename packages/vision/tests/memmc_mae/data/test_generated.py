from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import GeneratedTextures, ImageSample
from mnemic_vision.memmc_mae.data.generated import NOISE, _load

SMALL = GeneratedTextures(num_train=4, num_val=6, num_test=12, size=64)


def mask_of(sample: ImageSample) -> torch.Tensor:
    mask = sample.load_mask()
    assert mask is not None
    return mask


def test_same_numbers_give_same_images_and_another_seed_gives_others() -> None:
    first, again = SMALL.open(), GeneratedTextures(num_train=4, num_val=6, num_test=12, size=64).open()
    other = GeneratedTextures(num_train=4, num_val=6, num_test=12, size=64, seed=1).open()
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one.load(), two.load())
        assert torch.equal(mask_of(one), mask_of(two))
        assert not torch.equal(one.load(), three.load())
    assert len({sample.load().numpy().tobytes() for sample in first}) == len(first)


def test_only_validation_and_test_have_defects_and_half_of_their_images_do() -> None:
    counts = {split: [s.label == 1 for s in SMALL.open() if s.split == split] for split in ("train", "val", "test")}
    assert {split: (len(labels), sum(labels)) for split, labels in counts.items()} == {
        "train": (4, 0),
        "val": (6, 3),
        "test": (12, 6),
    }
    assert {s.group for s in SMALL.open() if s.label} == {"grating", "brightness", "blur"}


@pytest.mark.parametrize("size", [64, 96])
def test_masks_have_1_to_8_percent_of_the_area_and_normal_images_none(size: int) -> None:
    for sample in GeneratedTextures(num_train=3, num_val=0, num_test=40, size=size).open():
        share = mask_of(sample).float().mean().item()
        assert share == 0 if sample.label == 0 else 0.008 <= share <= 0.083


@pytest.mark.parametrize("defect", ["grating", "brightness", "blur"])
def test_a_defect_changes_the_texture_inside_of_its_mask_and_nowhere_else(defect: str) -> None:
    samples = [s for s in GeneratedTextures(num_train=0, num_val=0, num_test=24).open() if s.group == defect]
    for sample in samples:
        index = int(sample.name.split("/")[-1][:3])
        clean = _load(64, (0, 2, index), None)
        change, mask = (sample.load() - clean)[0], mask_of(sample)
        assert change[~mask].abs().max() == 0
        assert change[mask].square().mean().sqrt() > NOISE


def test_an_enlarged_texture_is_the_same_texture() -> None:
    small, large = (GeneratedTextures(1, 0, 0, size=size).open()[0].load() for size in (64, 128))
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - shrunk).std() < 2 * NOISE  # both have noise of their own


def test_written_set_is_an_mvtec_tree_with_the_same_pixels(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "set")
    for sample in SMALL.open():
        pixels = np.asarray(Image.open(tmp_path / "set" / sample.name))
        assert_close(torch.from_numpy(pixels / 255).float(), sample.load()[0], atol=0.5 / 255 + 1e-6, rtol=0)
    masks = sorted(p.relative_to(tmp_path / "set/ground_truth") for p in (tmp_path / "set").rglob("*_mask.png"))
    assert len(masks) == 9
    test = next(s for s in SMALL.open() if s.split == "test" and s.label)
    written = tmp_path / "set/ground_truth" / test.group / f"{Path(test.name).stem}_mask.png"
    assert np.array_equal(np.asarray(Image.open(written)) == 255, mask_of(test).numpy())


def test_writing_over_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; give a folder that does not exist yet"):
        SMALL.write(tmp_path)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "save", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        SMALL.write(tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_sizes_are_checked() -> None:
    with pytest.raises(UserError, match="size must be between 16 and 8192, got 8"):
        GeneratedTextures(size=8)
