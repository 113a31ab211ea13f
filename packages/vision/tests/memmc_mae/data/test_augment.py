import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import ImageAugmentation
from mnemic_vision.memmc_mae.data.augment import _cut_out


def ramp(height: int, width: int) -> torch.Tensor:
    """Row and column of every pixel's center, as shares of the image."""
    rows, columns = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack([rows, columns])


def changed(augmentation: ImageAugmentation, image: torch.Tensor, seed: int) -> torch.Tensor:
    return augmentation(image, torch.Generator().manual_seed(seed))


def test_the_same_generator_gives_the_same_image() -> None:
    image, augmentation = torch.rand(3, 32, 32), ImageAugmentation(flip=0.5)
    assert torch.equal(changed(augmentation, image, 0), changed(augmentation, image, 0))
    assert not torch.equal(changed(augmentation, image, 0), changed(augmentation, image, 1))


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
@pytest.mark.parametrize("angle", [-0.3, 0.0, 0.2])
def test_what_is_cut_out_has_its_area_and_angle_and_lies_within_the_image(size: tuple[int, int], angle: float) -> None:
    height, width = size
    for place in ((-1.0, -1.0), (1.0, -1.0), (0.3, 1.0)):
        rows, columns = _cut_out(ramp(*size), 0.5, angle, place) * torch.tensor([height, width])[:, None, None]
        along = torch.stack(
            [rows[height // 2, -5] - rows[height // 2, 4], columns[height // 2, -5] - columns[height // 2, 4]]
        )
        assert_close(torch.atan2(along[0], along[1]), torch.tensor(angle), atol=0.01, rtol=0)
        scale = along.norm() / (width - 9)
        assert scale <= 0.5**0.5 + 0.01
        assert min(rows.min(), columns.min()) >= 0.3  # pixels: nothing is repeated from the edge
        assert rows.max() <= height - 0.3
        assert columns.max() <= width - 0.3


def test_without_rotation_the_area_is_what_was_asked_for() -> None:
    rows, columns = _cut_out(ramp(64, 64), 0.81, 0.0, (0.0, 0.0))
    assert_close(rows[-1, 0] - rows[0, 0], torch.tensor(0.9 * 63 / 64), atol=2e-3, rtol=0)
    assert_close(columns.mean(), torch.tensor(0.5), atol=1e-4, rtol=0)


def test_nothing_darker_than_the_image_appears() -> None:
    image = 0.5 + 0.4 * torch.rand(1, 48, 48, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(image, 5, 1)
    for seed in range(30):
        assert changed(ImageAugmentation(rotation=20.0), smooth, seed).min() > smooth.min() - 0.02


def test_flip_mirrors_as_often_as_it_says() -> None:
    image = torch.rand(1, 8, 8)
    only_flip = ImageAugmentation(area=1.0, rotation=0.0, flip=0.5)
    results = [changed(only_flip, image, seed) for seed in range(200)]
    mirrored = sum(torch.equal(result, image.flip(-1)) for result in results)
    assert mirrored + sum(torch.equal(result, image) for result in results) == 200
    assert 70 < mirrored < 130


def test_brightness_and_contrast_stay_in_their_limits() -> None:
    image = 0.4 + 0.2 * torch.rand(1, 16, 16)
    for seed in range(20):
        bright = changed(ImageAugmentation(area=1.0, rotation=0.0, brightness=0.1), image, seed) - image
        assert bright.abs().max() <= 0.1 + 1e-6
        assert bright.std() < 1e-5
        contrast = changed(ImageAugmentation(area=1.0, rotation=0.0, contrast=0.3), image, seed)
        assert 0.7 <= contrast.std() / image.std() <= 1.3


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match=r"area must be between 0.05 and 1, got 1.5"):
        ImageAugmentation(area=1.5)
