from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import ImageSample, Split, find_duplicates, open_images, without_leaks
from mnemic_vision.memmc_mae.data.duplicates import NEAR, _nearest

SHARED = Path(__file__).parents[6] / "shared/data"


def no_mask() -> None:
    """These images have none."""


def sample_of(name: str, split: Split, image: Tensor) -> ImageSample:
    return ImageSample(name, split, 0, "", None, None, partial(torch.clone, image), no_mask)


@pytest.fixture
def images() -> Tensor:
    coarse = torch.rand(12, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (48, 48), mode="bilinear")


def test_equal_and_nearly_equal_images_of_different_parts_are_found(images: Tensor) -> None:
    noisy = (images[1] + 0.01 * torch.randn(1, 48, 48, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    smaller = F.interpolate(images[2][None], (32, 32), mode="bilinear", antialias=True)[0]
    samples = [sample_of(f"train{number}", "train", image) for number, image in enumerate(images[:6])]
    samples += [sample_of("a", "test", images[0]), sample_of("b", "test", noisy), sample_of("c", "val", smaller)]
    samples += [sample_of("d", "test", images[7]), sample_of("e", "test", images[0].expand(3, -1, -1))]
    found = find_duplicates(samples)
    assert {(d.first.name, d.second.name, d.is_exact) for d in found} == {
        ("train0", "a", True),
        ("train1", "b", False),
        ("train2", "c", False),
    }
    assert str(found[1]) == "train0 (train) is the same image as a (test)"
    assert [(d.first.name, d.is_exact) for d in find_duplicates(samples, near=0.0)] == [("train0", True)]
    left = {sample.name for sample in without_leaks(samples, found)}
    assert left == {"train3", "train4", "train5", "a", "b", "c", "d", "e"}


def test_the_same_part_may_repeat_itself(images: Tensor) -> None:
    assert not find_duplicates([sample_of(str(number), "train", images[0]) for number in range(3)])


def test_nearest_equals_a_comparison_of_all_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    first = 0.5 + 0.01 * torch.randn(700, 16, 16, generator=generator)
    second = 0.5 + 0.01 * torch.randn(40, 16, 16, generator=generator)
    second[:20] = first[100:120] + 0.004 * torch.randn(20, 16, 16, generator=generator)
    second[20:] += 0.3
    expected = {}
    for index, image in enumerate(first):
        differences = (second - image).abs().mean((1, 2))
        if differences.min() <= NEAR:
            expected[index] = int(differences.argmin())
    assert _nearest(first, second, NEAR) == expected
    assert len(expected) == 20


def test_images_that_cannot_be_read_are_left_out(images: Tensor) -> None:
    def fail() -> Tensor:
        raise UserError("damaged")

    samples = [sample_of("a", "train", images[0]), sample_of("b", "test", images[0])]
    samples.insert(1, replace(samples[0], name="broken", load=fail))
    assert [d.first.name for d in find_duplicates(samples)] == ["a"]


def test_brain_slices_have_one_near_duplicate() -> None:
    if not (SHARED / "brain_mri").is_dir():
        pytest.skip("needs the shared data")
    pairs = [(d.first.path, d.second.path) for d in find_duplicates(open_images("auto", SHARED / "brain_mri"))]
    root = SHARED / "brain_mri"
    assert pairs == [(root / "train/normal/48819a51ae.jpg", root / "test/normal/8001030362.jpg")]
