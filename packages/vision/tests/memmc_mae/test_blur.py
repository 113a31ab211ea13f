import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.blur import blur, blur_matrix


@pytest.mark.parametrize(("height", "width"), [(9, 14), (95, 96), (101, 130)])
@pytest.mark.parametrize(("radius", "sigma"), [(3, 1.0), (5, 1.5), (8, 2.0)])
def test_blur_is_the_filter_of_scipy(radius: int, sigma: float, height: int, width: int) -> None:
    images = np.random.default_rng(0).random((2, height, width))
    expected = [gaussian_filter(image, sigma, mode="mirror", radius=radius) for image in images]
    assert_close(blur(torch.tensor(images), radius, sigma), torch.tensor(np.array(expected)))


def test_constant_images_stay_constant() -> None:
    assert_close(blur(torch.full((3, 12, 12), 0.7), 5, 1.5), torch.full((3, 12, 12), 0.7))


def test_window_beyond_the_reflection_is_refused() -> None:
    with pytest.raises(UserError, match="at least 6 pixels, got 5"):
        blur_matrix(5, 5, 1.5)
