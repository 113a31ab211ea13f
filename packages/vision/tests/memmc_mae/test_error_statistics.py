import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import ErrorStatistics, ScoreRule, score_features


def test_batches_give_the_statistics_of_all_images_on_the_grid() -> None:
    torch.manual_seed(0)
    maps = torch.rand(11, 8, 6)
    pooled = F.adaptive_avg_pool2d(maps[:, None], 2).flatten(1)
    fitted = ErrorStatistics.fit(maps.split(3), 2)
    assert_close(torch.tensor(fitted.mean), pooled.mean(0), rtol=1e-5, atol=0)
    assert_close(torch.tensor(fitted.deviation), pooled.std(0), rtol=1e-5, atol=0)


def test_standardized_normal_maps_have_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    maps = 5 + 3 * torch.rand(9, 4, 4) * torch.linspace(1, 4, 16).view(4, 4)
    standardized = ErrorStatistics.fit([maps], 4).standardize(maps)
    assert_close(standardized.mean(0), torch.zeros(4, 4), rtol=0, atol=1e-4)
    assert_close(standardized.std(0), torch.ones(4, 4), rtol=1e-4, atol=0)


def test_what_is_hard_to_reconstruct_in_every_image_does_not_stand_out() -> None:
    torch.manual_seed(0)
    maps = torch.rand(20, 8, 8)
    maps[:, :4, :4] += 2  # an edge that every image has
    anomaly = maps[:1].clone()
    anomaly[0, 6, 6] += 1.5
    assert int(anomaly.argmax()) // 8 < 4
    standardized = ErrorStatistics.fit([maps], 4).standardize(anomaly)
    assert int(standardized.argmax()) == 6 * 8 + 6


def test_places_with_equal_errors_do_not_divide_by_zero() -> None:
    torch.manual_seed(0)
    maps = torch.rand(9, 4, 4)
    maps[:, 0, 0] = 0.5
    fitted = ErrorStatistics.fit([maps], 4)
    assert fitted.deviation[0] == pytest.approx(0.1 * maps.std(0).mean().item(), rel=1e-5)
    constant = ErrorStatistics.fit([torch.ones(2, 4, 4)], 4)
    assert constant.standardize(torch.ones(1, 4, 4)).abs().max() == 0


def test_scores_use_the_standardized_map() -> None:
    torch.manual_seed(0)
    target, predicted, masked = torch.randn(6, 16, 3), torch.randn(6, 2, 16, 3), torch.ones(6, 2, 16, dtype=torch.bool)
    rule = ScoreRule("max")
    plain = score_features(target, predicted, masked, rule, (12, 12))
    statistics = ErrorStatistics.fit([plain.map], 4)
    scored = score_features(target, predicted, masked, rule, (12, 12), statistics)
    assert_close(scored.map, statistics.standardize(plain.map))
    assert_close(scored.score, scored.map.flatten(1).amax(1))


def test_one_image_and_damaged_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="at least two images, got 1"):
        ErrorStatistics.fit([torch.rand(1, 4, 4)], 4)
    for mean, deviation in (((0.0,) * 3, (1.0,) * 3), ((0.0,) * 4, (1.0,) * 9), ((0.0,), (0.0,)), ((), ())):
        with pytest.raises(UserError, match="damaged"):
            ErrorStatistics(mean, deviation)
