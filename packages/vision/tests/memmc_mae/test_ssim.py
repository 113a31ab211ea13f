"""Similarity against a plain loop over windows, torchmetrics, and values found by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.ssim import multi_scale_maps, multi_scale_ssim, scales_for, similarity_maps, valid_mean


def noisy_pair(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    image = torch.rand(shape, dtype=dtype)
    return image, (0.8 * image + 0.2 * torch.randn_like(image)).clamp(0, 1)


def pattern() -> tuple[Tensor, Tensor]:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = ((3 * row + 5 * column) % 17).double() / 16
    return image[None], 0.8 * image[None] + 0.1 * ((row + column) % 3 == 0)


def loop(image: np.ndarray, other: np.ndarray, window: int) -> np.ndarray:
    """Return the similarity of two grey images as its definition states it, one window after the other."""
    radius, (height, width) = window // 2, image.shape
    taps = np.exp(-((np.arange(window) - radius) ** 2) / (2 * 1.5**2))
    weight = np.outer(taps, taps) / taps.sum() ** 2
    x, y = (np.pad(each, radius, mode="reflect") for each in (image, other))
    result = np.zeros_like(image)
    for row, column in np.ndindex(height, width):
        a, b = (each[row : row + window, column : column + window] for each in (x, y))
        mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
        variances = (weight * (a - mean_a) ** 2).sum() + (weight * (b - mean_b) ** 2).sum()
        covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
        luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        result[row, column] = luminance * (2 * covariance + 9e-4) / (variances + 9e-4)
    return result


@pytest.mark.parametrize("window", [7, 11])
def test_map_is_the_definition_at_every_pixel(window: int) -> None:
    image, other = noisy_pair(1, 16, 13)
    expected = torch.tensor(loop(image[0].numpy(), other[0].numpy(), window))
    assert_close(similarity_maps(image, other, window).ssim[0], expected)


def test_means_of_the_pattern_with_and_without_border() -> None:
    ssim = similarity_maps(*pattern()).ssim
    assert valid_mean(ssim, 11).item() == pytest.approx(0.951967, abs=5e-7)
    assert ssim.mean().item() == pytest.approx(0.951845, abs=5e-7)


def test_map_is_that_of_torchmetrics() -> None:
    image_metrics = pytest.importorskip("torchmetrics.functional.image")
    image, other = noisy_pair(2, 3, 40, 33)
    _, expected = image_metrics.structural_similarity_index_measure(
        other, image, data_range=1.0, return_full_image=True
    )
    assert_close(similarity_maps(image, other).ssim, expected)


def test_multi_scale_is_that_of_torchmetrics_but_for_the_border_of_the_coarsest() -> None:
    """Torchmetrics leaves the border out of the mean contrasts and not out of the mean similarity."""
    image_metrics = pytest.importorskip("torchmetrics.image")
    image, other = noisy_pair(2, 3, 192, 181)
    maps = multi_scale_maps(image, other)
    coarsest = maps[-1].ssim
    border = (coarsest.mean((-3, -2, -1)) / valid_mean(coarsest, 11)) ** 0.1333
    assert (border - 1).abs().min() > 5e-4
    metric = image_metrics.MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
    assert_close(multi_scale_ssim(maps) * border, metric(other, image), rtol=1e-4, atol=0)  # it sums in float32


def test_multi_scale_of_small_images_is_the_weighted_product() -> None:
    image, other = noisy_pair(1, 32, 32)
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001)):
        maps = similarity_maps(image, other, 7)
        chosen = maps.ssim if scale == 2 else maps.contrast
        product *= chosen[0, 3:-3, 3:-3].mean().item() ** (weight / 0.6305)
        image, other = (each.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean((2, 4)) for each in (image, other))
    assert multi_scale_ssim(multi_scale_maps(*noisy_pair(1, 32, 32))).item() == pytest.approx(product)


def test_draws_of_an_image_are_compared_as_single_ones() -> None:
    image, draws = noisy_pair(2, 3, 3, 64, 64)
    image = image[:, :1]
    together = multi_scale_ssim(multi_scale_maps(image, draws))
    singles = [multi_scale_ssim(multi_scale_maps(image[:, 0], draws[:, draw])) for draw in range(3)]
    assert_close(together, torch.stack(singles, dim=1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_images_have_similarity_one_exactly(value: float) -> None:
    flat = torch.full((1, 64, 64), value)
    assert (similarity_maps(flat, flat).ssim == 1).all()
    image, _ = noisy_pair(2, 1, 64, 64, dtype=torch.float32)
    assert (multi_scale_ssim(multi_scale_maps(image, image)) == 1).all()


def test_float32_is_near_float64_on_bright_images() -> None:
    image, other = (1 - each / 50 for each in noisy_pair(1, 64, 64))
    single = similarity_maps(image.float(), other.float()).ssim.double()
    assert_close(single, similarity_maps(image, other).ssim, rtol=0, atol=1e-3)


def test_negative_of_an_image_has_a_finite_score_and_gradient() -> None:
    image, _ = noisy_pair(1, 1, 64, 64)
    negative = (1 - image).requires_grad_()
    score = multi_scale_ssim(multi_scale_maps(image, negative))
    (gradient,) = torch.autograd.grad(score.sum(), negative)
    assert 0 <= score.item() < 1e-5
    assert gradient.isfinite().all()


def test_gradient_is_that_of_finite_differences() -> None:
    image, other = noisy_pair(1, 14, 14)
    assert torch.autograd.gradcheck(
        lambda other: multi_scale_ssim(multi_scale_maps(image, other)), other.requires_grad_()
    )


def test_autocast_changes_nothing() -> None:
    image, other = noisy_pair(1, 32, 32, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = similarity_maps(image, other).ssim
    assert_close(mixed, similarity_maps(image, other).ssim, rtol=0, atol=0)


@pytest.mark.parametrize(("side", "window", "count"), [(7, 7, 1), (64, 7, 3), (88, 11, 4), (175, 11, 4), (176, 11, 5)])
def test_scales_fit_into_the_image(side: int, window: int, count: int) -> None:
    scales = scales_for(side)
    assert (scales.window, len(scales.weights)) == (window, count)
    assert sum(scales.weights) == pytest.approx(1)
    assert side >> (count - 1) >= window


def test_images_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(UserError, match="at least 7 x 7 pixels, got side 6"):
        scales_for(6)
