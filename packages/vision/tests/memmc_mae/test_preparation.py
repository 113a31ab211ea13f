import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import prepare


def test_the_square_equals_that_of_pillow() -> None:
    grey = torch.rand(1, 50, 70)
    pillow = Image.fromarray(grey[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    assert_close(prepare(grey, 32, 1)[0], torch.from_numpy(np.array(pillow)), atol=1e-5, rtol=0)


def test_grey_as_color_and_back_is_the_same() -> None:
    grey = torch.rand(1, 20, 30)
    color = prepare(grey, 24, 3)
    assert color.shape == (3, 24, 24)
    assert_close(prepare(color, 24, 1), prepare(grey, 24, 1))


def test_a_square_of_the_same_size_keeps_its_values() -> None:
    color = torch.rand(3, 16, 16)
    assert_close(prepare(color, 16, 3), color, atol=1e-6, rtol=0)


def test_grey_of_color_is_its_luma() -> None:
    color = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 9, 9)
    assert_close(prepare(color, 4, 1), torch.full((1, 4, 4), 0.299 + 0.587 / 2))


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 8, 8), torch.full((1, 8, 8), 255.0), torch.full((3, 8, 8), torch.nan)]
)
def test_what_is_no_picture_is_refused_in_one_line(wrong: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"grey or RGB|in \[0, 1\]"):
        prepare(wrong, 8, 3)
