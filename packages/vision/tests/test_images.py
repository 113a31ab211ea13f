from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch.testing import assert_close
from torchvision.transforms.functional import center_crop

from mnemic_vision.images import (
    as_image,
    center_square,
    inference_size,
    normalize,
    pad_images,
    preprocess_frame,
    resize_bilinear,
)

GOLDEN = Path(__file__).parent / "golden" / "memotr"


@pytest.mark.golden
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name) for case in golden_cases("memotr", GOLDEN, prefix="embeddings_preprocess")],
)
def test_preprocessing_equals_the_official_one(case: GoldenCase) -> None:
    image = case.inputs["image_rgb"].permute(2, 0, 1)
    expected = case.outputs["image_resized_u8"].permute(2, 0, 1)
    tensor = preprocess_frame(image, case.config["short"], case.config["long"])
    batch, padding = pad_images([tensor])
    assert torch.equal(resize_bilinear(image, tuple(tensor.shape[1:])), expected)
    assert_close(batch, case.outputs["image_padded"], atol=case.tolerance, rtol=0)
    assert torch.equal(padding, case.outputs["image_mask"])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1080, 1920), (800, 1422)), ((1920, 1080), (1422, 800)), ((600, 1800), (512, 1536)), ((800, 800), (800, 800))],
)
def test_sizes_are_truncated_not_rounded(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert inference_size(size) == expected


def test_an_extreme_shape_keeps_a_pixel() -> None:
    assert inference_size((1, 6144)) == (1, 1536)
    assert inference_size((5000, 1), short=800, long=100) == (100, 1)


@pytest.mark.parametrize("size", [(5, 7), (30, 41), (13, 9), (1, 1)])
def test_resizing_is_bilinear_up_to_the_last_bit(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, 13, 21), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    exact = torch.nn.functional.interpolate(image[None].double(), size, mode="bilinear", align_corners=False)[0]
    assert (resize_bilinear(image, size).double() - exact).abs().max() <= 1


def test_arrays_and_tensors_are_the_same_frame() -> None:
    tensor = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frame = tensor.permute(1, 2, 0).numpy()
    for form in (frame, tensor, tensor / 255, frame[:, ::-1][:, ::-1], (frame / 255).astype(np.float64)):
        assert torch.equal(as_image(form), tensor)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4)
    assert resize_bilinear(image, (4, 4)) is image


def test_normalized_colors_have_known_values() -> None:
    image = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(3, 1, 1)
    expected = torch.tensor([-0.485 / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]).reshape(3, 1, 1)
    assert_close(normalize(image), expected)


def test_padding_is_right_and_below_up_to_multiples_of_32() -> None:
    batch, padding = pad_images([torch.ones(3, 20, 33), torch.ones(3, 32, 10)])
    assert batch.shape == (2, 3, 32, 64)
    assert torch.equal(padding, batch[:, 0] == 0)
    assert not padding[0, :20, :33].any()
    assert not padding[1, :32, :10].any()


@pytest.mark.parametrize("size", [(256, 300), (400, 256), (256, 256)])
def test_the_central_square_equals_the_center_crop_of_an_image_of_256_pixels(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(center_square(image, 224), center_crop(image, [224, 224]))


def test_the_central_square_equals_resizing_and_cropping_up_to_its_border() -> None:
    image = torch.randint(0, 256, (3, 512, 768), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    resized = torch.nn.functional.interpolate(image[None], (256, 384), mode="bilinear", antialias=True)[0]
    inside = (..., slice(2, -2), slice(2, -2))
    assert torch.equal(center_square(image, 224)[inside], center_crop(resized, [224, 224])[inside])


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3, 2), (2160, 3840)])
def test_images_of_any_size_have_a_central_square(size: tuple[int, int]) -> None:
    assert (center_square(torch.full((3, *size), 77, dtype=torch.uint8), 32) == 77).all()
