"""Scores of known reconstructions, and plain loops in the place of tensor operations."""

from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_core.testing import unchecked_annotations
from mnemic_vision.memmc_mae import ErrorStatistics, Scored, ScoreRule, score_features, score_pixels
from mnemic_vision.memmc_mae.ssim import multi_scale_maps, multi_scale_ssim, similarity_maps

GRID, SIDE, DRAWS = 4, 32, 4
PLAIN = ScoreRule(sigma=0.0)


def masks(batch: int = 2) -> Tensor:
    """Each patch is visible in one of four draws, as in stratified masks."""
    visible = torch.randperm(GRID**2, generator=torch.Generator().manual_seed(0)).view(DRAWS, -1)
    return torch.ones(DRAWS, GRID**2, dtype=torch.bool).scatter(1, visible, False).expand(batch, -1, -1)


def pixels(batch: int = 2, channels: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    image = torch.rand(batch, channels, SIDE, SIDE, dtype=torch.float64)
    noise = torch.randn(batch, DRAWS, channels, SIDE, SIDE, dtype=torch.float64)
    return image, (image[:, None] + 0.1 * noise).clamp(0, 1)


def features(batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(batch, GRID**2, 5), torch.randn(batch, DRAWS, GRID**2, 5)


def score_both(rule: ScoreRule, statistics: ErrorStatistics | None = None) -> list[Scored]:
    image, draws = pixels()
    target, predicted = features()
    return [
        score_pixels(image, draws, masks(), rule, statistics),
        score_features(target, predicted, masks(), rule, (SIDE, SIDE), statistics),
    ]


def test_map_is_highest_where_the_reconstruction_differs() -> None:
    image, _ = pixels(batch=1)
    draws = image[:, None].repeat(1, DRAWS, 1, 1, 1)
    draws[..., 20:26, 4:10] = 0.5
    anomaly = score_pixels(image, draws, masks(1), ScoreRule()).map[0]
    row, column = divmod(anomaly.argmax().item(), SIDE)
    assert 20 <= row < 26
    assert 4 <= column < 10


def test_map_of_pixels_is_the_mean_over_draws_and_three_scales() -> None:
    image, draws = pixels(channels=3)
    expected = torch.zeros(2, SIDE, SIDE, dtype=torch.float64)
    for draw in range(DRAWS):
        first, second = image, draws[:, draw]
        for _ in range(3):
            ssim = similarity_maps(first, second, 7).ssim.mean(1, keepdim=True)
            expected += (1 - F.interpolate(ssim, (SIDE, SIDE), mode="bilinear")[:, 0]) / (3 * DRAWS)
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
    assert_close(score_pixels(image, draws, masks(), PLAIN).map, expected)


def test_score_of_pixels_is_the_mean_dissimilarity_of_the_draws() -> None:
    image, draws = pixels()
    single = [multi_scale_ssim(multi_scale_maps(image, draws[:, draw])) for draw in range(DRAWS)]
    assert_close(score_pixels(image, draws, masks(), PLAIN).score, 1 - torch.stack(single).mean(0))


def test_alpha_mixes_in_the_absolute_difference() -> None:
    image, draws = pixels()
    whole, none, some = (
        score_pixels(image, draws, masks(), replace(PLAIN, alpha_l1=alpha)) for alpha in (1.0, 0.0, 0.15)
    )
    absolute = (image[:, None] - draws).abs()
    assert_close(whole.map, absolute.mean((1, 2)))
    assert_close(whole.score, absolute.mean((1, 2, 3, 4)))
    assert_close(some.map, 0.85 * none.map + 0.15 * whole.map)
    assert_close(some.score, 0.85 * none.score + 0.15 * whole.score)


def test_score_mse_is_the_mean_squared_error() -> None:
    image, draws = pixels()
    by_pixels, by_features = score_both(ScoreRule("mse"))
    assert_close(by_pixels.score, (image[:, None] - draws).square().mean((1, 2, 3, 4)))
    target, predicted = features()
    assert_close(by_features.score, (target[:, None] - predicted).square().mean((1, 2, 3)))


def test_scores_of_the_map_are_its_largest_mean_and_top_values() -> None:
    for name in ("max", "mean", "top_share"):
        for anomaly, score in score_both(ScoreRule(name, top_share=0.02)):
            ordered = anomaly.flatten(1).sort(descending=True).values
            count = {"max": 1, "mean": SIDE**2, "top_share": 21}[name]  # 2 % of 1024 pixels, rounded up
            assert_close(score, ordered[:, :count].mean(1))


def test_masked_region_ignores_draws_that_saw_the_patch() -> None:
    """Reconstructions of visible patches change nothing; those of masked ones do."""
    target, predicted = features()
    rule = ScoreRule("mean", region="masked")
    before = score_features(target, predicted, masks(), rule, (SIDE, SIDE)).map
    seen = torch.where(masks()[..., None], predicted, predicted + 9)
    assert_close(score_features(target, seen, masks(), rule, (SIDE, SIDE)).map, before)
    assert not torch.allclose(score_features(target, predicted + 9, masks(), rule, (SIDE, SIDE)).map, before)


def test_masked_region_of_pixels_follows_the_patches() -> None:
    image, _ = pixels()
    size = SIDE // GRID
    shown = masks().view(2, DRAWS, GRID, 1, GRID, 1).expand(-1, -1, -1, size, -1, size).reshape(2, DRAWS, 1, SIDE, SIDE)
    draws = torch.where(shown, image[:, None], 1 - image[:, None])  # wrong where visible only
    rule = replace(PLAIN, image_score="mse", region="masked")
    assert score_pixels(image, draws, masks(), rule).score.abs().max() == 0
    assert score_pixels(image, draws, masks(), replace(rule, region="all")).score.min() > 0.01


def test_patches_that_no_draw_masked_count_all_draws() -> None:
    target, predicted = features()
    never = torch.zeros(2, DRAWS, GRID**2, dtype=torch.bool)
    masked, everything = (
        score_features(target, predicted, never, ScoreRule("mean", region=region), (SIDE, SIDE))
        for region in ("masked", "all")
    )
    assert_close(masked, everything)


@pytest.mark.parametrize("draws", [3, 4])
def test_median_region_is_the_middle_draw_or_the_mean_of_two(draws: int) -> None:
    target, predicted = features()
    rule = ScoreRule("mse", region="median")
    error = (target[:, None] - predicted[:, :draws]).square().mean(-1)
    expected = error.quantile(0.5, dim=1).mean(1)
    assert_close(score_features(target, predicted[:, :draws], masks()[:, :draws], rule, (SIDE, SIDE)).score, expected)


def test_cosine_distance_ignores_the_length_of_features() -> None:
    target, predicted = features()
    rule = ScoreRule("mean", distance="cosine")
    longer = score_features(target, 3 * predicted, masks(), rule, (SIDE, SIDE))
    assert_close(score_features(target, predicted, masks(), rule, (SIDE, SIDE)), longer)
    assert_close(
        score_features(target, -target[:, None], masks()[:, :1], rule, (SIDE, SIDE)).score, torch.full((2,), 2.0)
    )


def test_map_of_features_is_the_enlarged_grid_of_patch_errors() -> None:
    target, predicted = features()
    error = (target[:, None] - predicted).square().mean((1, 3)).view(2, 1, GRID, GRID)
    expected = F.interpolate(error, (30, 40), mode="bilinear")[:, 0]
    assert_close(score_features(target, predicted, masks(), replace(PLAIN, image_score="max"), (30, 40)).map, expected)


def test_smoothing_is_that_of_scipy_with_a_sigma_for_side_224() -> None:
    for plain, smooth in zip(
        score_both(ScoreRule("max", sigma=0.0)), score_both(ScoreRule("max", sigma=14.0)), strict=True
    ):
        expected = [gaussian_filter(each.numpy(), sigma=2.0, mode="mirror") for each in plain.map]
        assert_close(smooth.map, torch.stack(list(map(torch.as_tensor, expected))))


def test_score_of_an_image_does_not_depend_on_its_batch() -> None:
    image, draws = pixels(batch=5)
    together = score_pixels(image, draws, masks(5), ScoreRule())
    alone = score_pixels(image[3:4], draws[3:4], masks(1), ScoreRule())
    assert_close(alone.map[0], together.map[3])
    assert_close(alone.score[0], together.score[3])


def test_reconstructions_beyond_the_range_count_as_its_ends() -> None:
    image, draws = pixels()
    wide = 3 * draws - 1
    assert_close(score_pixels(image, wide, masks(), PLAIN), score_pixels(image, wide.clamp(0, 1), masks(), PLAIN))


def test_features_have_no_structural_similarity() -> None:
    with pytest.raises(UserError, match="ms_ssim is for pixels"):
        score_features(*features(), masks(), ScoreRule(), (SIDE, SIDE))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"image_score": "sum"}, "image_score must be one of"), ({"alpha_l1": 1.5}, "alpha_l1 must be between 0 and 1")],
)
def test_wrong_rules_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message), unchecked_annotations():
        ScoreRule(**setting)


class _Scores(nn.Module):
    def __init__(self, rule: ScoreRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, image: Tensor, draws: Tensor, masked: Tensor) -> Scored:
        return score_pixels(image, draws, masked, self.rule)


@pytest.mark.parametrize(
    "rule",
    [
        ScoreRule("top_share", region="masked"),
        pytest.param(ScoreRule(), marks=pytest.mark.slow),  # exported with every detector
        pytest.param(ScoreRule("mse", region="median", alpha_l1=0.15), marks=pytest.mark.slow),
    ],
)
def test_exported_graph_gives_the_same_scores_for_any_batch(rule: ScoreRule) -> None:
    pytest.importorskip("onnxscript")
    image, draws = (F.interpolate(each.float().flatten(0, -4), 96).view(*each.shape[:-2], 96, 96) for each in pixels(5))
    batch = torch.export.Dim("batch", min=1, max=64)
    with unchecked_annotations():
        program = torch.onnx.export(
            _Scores(rule).eval(),
            (image[:2], draws[:2], masks(2)),
            dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    exported = program(image, draws, masks(5))
    assert_close(tuple(exported), tuple(_Scores(rule)(image, draws, masks(5))), rtol=1e-4, atol=1e-5)
