"""Anomaly map and image score from several reconstructions of an image."""

from dataclasses import dataclass
from math import ceil, inf, isqrt
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_vision.memmc_mae.blur import blur
from mnemic_vision.memmc_mae.error_statistics import ErrorStatistics
from mnemic_vision.memmc_mae.ssim import SimilarityMaps, multi_scale_maps, multi_scale_ssim

ImageScore = Literal["ms_ssim", "max", "top_share", "mean", "mse"]
Region = Literal["all", "masked", "median"]
Distance = Literal["squared", "cosine"]

_MAP_SCALES = 3  # of similarity in the map: coarser ones do not localize
_SIGMA_SIDE = 224  # side of the image for which the sigma of the smoothing is given
_REACH = 4  # radius of the smoothing in deviations


@dataclass(frozen=True)
class ScoreRule:
    """How reconstructions become an anomaly map and an image score.

    The paper's score could not be read; multi-scale structural similarity is that of the first author's other systems
    (IGD, CCD).

    Args:
        image_score: ``ms_ssim`` (pixels only): 1 - multi-scale structural similarity of the image, mean over draws;
            ``max``, ``mean`` or ``top_share`` of the anomaly map; ``mse``: mean squared error of the draws.
        region: what counts at a pixel: ``all`` draws, those in which it was ``masked``, or their ``median``. The score
            ``ms_ssim`` is of whole images always.
        distance: of feature vectors: mean ``squared`` difference or 1 - ``cosine`` similarity.
        alpha_l1: share of the absolute difference in map and ``ms_ssim`` of pixels, 0 to 1; IGD has 0.15.
        top_share: share of the pixels with the largest errors, whose mean is the score ``top_share``.
        sigma: of the Gaussian that smooths the map, in pixels of an image of side 224; 0: none.

    Raises:
        UserError: for an unknown choice or a number out of range.
    """

    image_score: ImageScore = "ms_ssim"
    region: Region = "all"
    distance: Distance = "squared"
    alpha_l1: float = 0.0
    top_share: float = 0.01
    sigma: float = 4.0

    def __post_init__(self) -> None:
        check_choice(ImageScore, image_score=self.image_score)
        check_choice(Region, region=self.region)
        check_choice(Distance, distance=self.distance)
        check_range(self, 0, 1, "alpha_l1", "top_share")
        check_range(self, 0, inf, "sigma")

    def check_features(self) -> None:
        """Raise ``UserError`` if the image score is for pixels only."""
        if self.image_score == "ms_ssim":
            raise UserError("image_score ms_ssim is for pixels, got features: choose max, top_share, mean or mse")


class Scored(NamedTuple):
    """Anomaly of images; higher is more anomalous.

    Attributes:
        map: at each pixel; 0 or more, but for standardized maps.
        score: of the image.
    """

    map: Float[Tensor, "batch height width"]
    score: Float[Tensor, " batch"]


def score_pixels(
    image: Float[Tensor, "batch channel height width"],
    reconstruction: Float[Tensor, "batch draw channel height width"],
    masked: Bool[Tensor, "batch draw patch"],
    rule: ScoreRule,
    statistics: ErrorStatistics | None = None,
) -> Scored:
    """Score images by the structural similarity of their reconstructions.

    The error of a draw at a pixel is 1 - the mean structural similarity of the three finest scales; the map is its mean
    over draws, smoothed. Plain tensor operations, which export with static sizes.

    Args:
        image: in [0, 1].
        reconstruction: in the same range, beyond which it is clamped.
        masked: True at the patches that the encoder did not see, row by row of a square grid.
        rule: what to compute.
        statistics: of normal images, to standardize the map.

    Example:
        >>> image = torch.rand(2, 1, 64, 64)
        >>> draws, masked = image[:, None].expand(-1, 4, -1, -1, -1), torch.ones(2, 4, 64, dtype=torch.bool)
        >>> score_pixels(image, draws, masked, ScoreRule()).score.tolist()
        [0.0, 0.0]
    """
    single, draws = image[:, None], reconstruction.clamp(0, 1)
    similarity = multi_scale_maps(single, draws)
    size = (image.shape[-2], image.shape[-1])
    pixels = _mask_pixels(masked, size)
    error = _dissimilarity(similarity, size, rule)
    if rule.alpha_l1 > 0:
        error = (1 - rule.alpha_l1) * error + rule.alpha_l1 * (single - draws).abs().mean(2)
    anomaly = _finish(_over_draws(error, pixels, rule), rule, statistics)
    if rule.image_score == "ms_ssim":
        score = 1 - multi_scale_ssim(similarity).mean(1)
        if rule.alpha_l1 > 0:
            score = (1 - rule.alpha_l1) * score + rule.alpha_l1 * (single - draws).abs().mean((1, 2, 3, 4))
        return Scored(anomaly, score)
    if rule.image_score == "mse":
        return Scored(anomaly, _over_draws((single - draws).square().mean(2), pixels, rule).mean((-2, -1)))
    return Scored(anomaly, _map_score(anomaly, rule))


def score_features(
    target: Float[Tensor, "batch patch value"],
    reconstruction: Float[Tensor, "batch draw patch value"],
    masked: Bool[Tensor, "batch draw patch"],
    rule: ScoreRule,
    size: tuple[int, int],
    statistics: ErrorStatistics | None = None,
) -> Scored:
    """Score images by the distance between features and their reconstructions.

    The distance at each patch, mean over draws, is enlarged to the size of the image and smoothed.

    Args:
        target: standardized features of a square grid, row by row.
        reconstruction: likewise.
        masked: True at the patches that the encoder did not see.
        rule: what to compute; ``image_score`` is not ``ms_ssim``.
        size: height and width of the map in pixels.
        statistics: of normal images, to standardize the map.

    Raises:
        UserError: if the score is for pixels only.

    Example:
        >>> features, masked = torch.randn(2, 49, 8), torch.ones(2, 4, 49, dtype=torch.bool)
        >>> draws = features[:, None].expand(-1, 4, -1, -1)
        >>> score_features(features, draws, masked, ScoreRule("max"), (64, 64)).score.tolist()
        [0.0, 0.0]
    """
    rule.check_features()
    single = target[:, None]
    squared = (single - reconstruction).square().mean(-1)
    distance = squared if rule.distance == "squared" else 1 - F.cosine_similarity(single, reconstruction, dim=-1)
    anomaly = patch_map(_over_draws(distance, masked, rule), rule, size, statistics)
    if rule.image_score == "mse":
        return Scored(anomaly, _over_draws(squared, masked, rule).mean(1))
    return Scored(anomaly, _map_score(anomaly, rule))


def patch_map(
    distance: Float[Tensor, "batch patch"],
    rule: ScoreRule,
    size: tuple[int, int],
    statistics: ErrorStatistics | None = None,
) -> Float[Tensor, "batch height width"]:
    """Return an anomaly map from one number for each patch: enlarged, smoothed and, with statistics, standardized."""
    patches = distance.unflatten(1, (isqrt(distance.shape[1]),) * 2)
    return _finish(_enlarge(patches[:, None], size)[:, 0], rule, statistics)


def _dissimilarity(
    similarity: list[SimilarityMaps], size: tuple[int, int], rule: ScoreRule
) -> Float[Tensor, "batch draw height width"]:
    """Return 1 - similarity, mean over scales; where all draws count, of their mean, as there is less to enlarge."""
    errors = [1 - maps.ssim.mean(-3) for maps in similarity[:_MAP_SCALES]]
    if rule.region == "all":
        errors = [error.mean(1, keepdim=True) for error in errors]
    return sum((_enlarge(error, size) for error in errors[1:]), errors[0]) / len(errors)


def _over_draws(
    error: Float[Tensor, "batch draw *place"], masked: Bool[Tensor, "batch _ *place"], rule: ScoreRule
) -> Float[Tensor, " batch *place"]:
    """Return the error of all draws at each place; at places that no draw masked, all draws count."""
    if rule.region == "all":
        return error.mean(1)
    if rule.region == "median":
        ordered, count = error.sort(1).values, error.shape[1]
        return (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
    weight = (masked | ~masked.any(1, keepdim=True)).to(error.dtype)
    return (error * weight).sum(1) / weight.sum(1)


def _mask_pixels(
    masked: Bool[Tensor, "batch draw patch"], size: tuple[int, int]
) -> Bool[Tensor, "batch draw height width"]:
    side = isqrt(masked.shape[-1])
    rows, columns = (length // side for length in size)
    grid: Tensor = masked.unflatten(2, (side, side))
    return grid.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


def _enlarge(maps: Float[Tensor, "batch draw _ _"], size: tuple[int, int]) -> Float[Tensor, "batch draw height width"]:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _finish(
    maps: Float[Tensor, "batch height width"], rule: ScoreRule, statistics: ErrorStatistics | None
) -> Float[Tensor, "batch height width"]:
    """Smooth, then standardize: deviations of smoothed maps are known better from few images."""
    if rule.sigma > 0:
        side = min(maps.shape[-2:])
        sigma = rule.sigma * side / _SIGMA_SIDE
        with torch.autocast(maps.device.type, enabled=False):
            maps = blur(maps, min(ceil(_REACH * sigma), side - 1), sigma)
    return maps if statistics is None else statistics.standardize(maps)


def _map_score(anomaly: Float[Tensor, "batch height width"], rule: ScoreRule) -> Float[Tensor, " batch"]:
    flat = anomaly.flatten(1)
    if rule.image_score == "mean":
        return flat.mean(1)
    if rule.image_score == "max":
        return flat.amax(1)
    return flat.topk(max(1, ceil(rule.top_share * flat.shape[1]))).values.mean(1)
