import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import ErrorStatistics, ScoreRule, score_features


def test_batches_give_the_statistics_of_all_images() -> None:
    torch.manual_seed(0)
    maps = torch.rand(11, 4, 5)
    fitted = ErrorStatistics.fit(maps.split(3))
    assert_close(fitted.mean, maps.mean(0))
    assert_close(fitted.deviation, maps.std(0))


def test_standardized_normal_maps_have_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    maps = 5 + 3 * torch.rand(9, 4, 4) * torch.linspace(1, 4, 16).view(4, 4)
    standardized = ErrorStatistics.fit([maps]).standardize(maps)
    assert_close(standardized.mean(0), torch.zeros(4, 4), rtol=0, atol=1e-5)
    assert_close(standardized.std(0), torch.ones(4, 4))


def test_pixels_with_equal_errors_do_not_divide_by_zero() -> None:
    torch.manual_seed(0)
    maps = torch.rand(9, 4, 4)
    maps[:, 0, 0] = 0.5
    fitted = ErrorStatistics.fit([maps])
    assert fitted.deviation[0, 0] == pytest.approx(0.1 * maps.std(0).mean().item())
    constant = ErrorStatistics.fit([torch.ones(2, 4, 4)])
    assert constant.standardize(torch.ones(1, 4, 4)).abs().max() == 0


def test_scores_use_the_standardized_map() -> None:
    torch.manual_seed(0)
    target, predicted, masked = torch.randn(6, 16, 3), torch.randn(6, 2, 16, 3), torch.ones(6, 2, 16, dtype=torch.bool)
    rule = ScoreRule("max")
    plain = score_features(target, predicted, masked, rule, (12, 12))
    statistics = ErrorStatistics.fit([plain.map])
    scored = score_features(target, predicted, masked, rule, (12, 12), statistics)
    assert_close(scored.map, (plain.map - plain.map.mean(0)) / plain.map.std(0))
    assert_close(scored.score, scored.map.amax((1, 2)))


def test_statistics_of_one_image_are_refused() -> None:
    with pytest.raises(UserError, match="at least two images, got 1"):
        ErrorStatistics.fit([torch.rand(1, 4, 4)])


def test_maps_of_another_size_are_refused() -> None:
    fitted = ErrorStatistics.fit([torch.rand(2, 4, 4)])
    with pytest.raises(UserError, match="maps of 4 x 4 pixels, got 8 x 6"):
        fitted.standardize(torch.rand(1, 8, 6))
