"""ImageNet weights of classifiers, under the names that several packages give them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_core.loading import check_finite, read_state_dict

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def load_headless(
    network: nn.Module,
    path: str | Path,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> None:
    """Load the weights of a classifier into a network without its head and unused stages.

    Accepts the names of torchvision, timm and the ``efficientnet-lite-pytorch`` packages.

    Args:
        network: the network.
        path: file of the weights.
        mean: of the RGB channels, by which the images of the network are normalized.
        std: their standard deviation, likewise.

    Raises:
        UserError: if the file lacks a weight that the network needs, or one has another shape.
    """
    wanted = network.state_dict()
    given = {key: value for key, value in read_state_dict(path).items() if not key.endswith("num_batches_tracked")}
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    is_lite = needed[0] not in given and "_conv_stem.weight" in given
    if is_lite:
        given = dict(zip(needed, given.values(), strict=False))  # other names, the same order
    wrong = [key for key in needed if key not in given or given[key].shape != wanted[key].shape]
    if wrong:
        raise UserError(
            f"{path} does not have the weights of this backbone: {len(wrong)} of {len(needed)} are missing or have "
            f"another shape, first {wrong[0]}"
        )
    given = _renormalized(given, mean, std) if is_lite else given
    wanted = {key: given[key] for key in needed}
    check_finite(network, wanted, path)
    network.load_state_dict(wanted, strict=False)


def _renormalized(
    weights: Mapping[str, Tensor], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> dict[str, Tensor]:
    """Return the weights of an ``efficientnet-lite-pytorch`` package for images normalized by mean and deviation.

    Those networks expect (x - 127) / 128 on 0..255; the first convolution compensates the scale and the first batch
    norm the shift.
    """
    stem, running_mean = weights["conv_stem.weight"], weights["bn1.running_mean"]
    shift = (255 * torch.tensor(mean) - 127) / 128
    scale = 255 * torch.tensor(std) / 128
    return {
        **weights,
        "bn1.running_mean": running_mean - (stem * shift[:, None, None]).sum(dim=(1, 2, 3)),
        "conv_stem.weight": stem * scale[:, None, None],
    }
