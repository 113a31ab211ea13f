"""Which patches the encoder sees."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def random_visible(
    batch: int, num_patches: int, num_visible: int, generator: torch.Generator | None = None
) -> Int[Tensor, "batch visible"]:
    """Return the visible patches of one draw for each image, independent of each other."""
    noise = torch.rand(batch, num_patches, generator=generator)
    return noise.argsort(dim=1)[:, :num_visible]


def stratified_visible(
    num_draws: int, num_patches: int, num_visible: int, seed: int = 0
) -> Int[Tensor, "draw visible"]:
    """Return the visible patches of several draws, such that all patches are visible about equally often.

    The patches are shuffled and cut into disjoint sets, one for each draw; when they are used up they are shuffled
    again. With a quarter of the patches visible, four draws show each patch once and mask it three times. The draws do
    not depend on the image, so its score does not depend on its batch, and an exported graph holds them as constants.

    Args:
        num_draws: number of draws.
        num_patches: patches of an image.
        num_visible: visible patches of a draw.
        seed: of the shuffles.
    """
    generator = torch.Generator().manual_seed(seed)
    whole = num_patches // num_visible
    rounds = -(-num_draws // whole)
    shuffled = torch.stack([torch.randperm(num_patches, generator=generator) for _ in range(rounds)])
    return shuffled[:, : whole * num_visible].reshape(-1, num_visible)[:num_draws]


def masked_patches(visible: Int[Tensor, "*draw visible"], num_patches: int) -> Bool[Tensor, "*draw patch"]:
    """Return True at patches that the encoder does not see."""
    masked = torch.ones(*visible.shape[:-1], num_patches, dtype=torch.bool, device=visible.device)
    return masked.scatter(-1, visible, False)
