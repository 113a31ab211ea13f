"""The draws with which an image is scored: several masks, and which patches are reconstructed in each."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_vision.memmc_mae.config import MemMcMaeConfig
from mnemic_vision.memmc_mae.masks import masked_patches, stratified_visible
from mnemic_vision.memmc_mae.model import MemMcMae

Decoded = Literal["all", "both", "masked", "visible"]

_KINDS = {"both": (False, True), "masked": (True,), "visible": (False,)}  # images of a group: True of masked patches


@dataclass(frozen=True)
class DrawRule:
    """How many masks an image is scored with.

    Args:
        num_draws: masks; a multiple of four with a quarter of the patches visible shows each patch equally often.
        decode: patches that a draw reconstructs. ``all``, or few of them, such that the draws that show each patch
            once, four with the paper's mask ratio, make whole images: one of patches that were ``visible`` while they
            were reconstructed, one of ``masked`` ones, or ``both``. A draw then decodes as many patches as it sees, or
            twice as many, which saves most of the decoder where it has no self-attention.
        seed: of the masks, which are the same for all images.
    """

    num_draws: int = 8
    decode: Decoded = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 1, 1024, "num_draws")
        check_choice(Decoded, decode=self.decode)

    def make(self, config: MemMcMaeConfig) -> "Draws":
        """Return the draws for a network.

        Raises:
            UserError: if whole images need another number of draws, or the network's mask ratio does not allow them.
        """
        patches, seen = config.num_patches, config.num_visible
        visible = stratified_visible(self.num_draws, patches, seen, self.seed)
        if self.decode == "all":
            return Draws(visible, masked_patches(visible, patches))
        group = patches // seen
        if patches % seen or group < 2 or self.num_draws % group:
            raise UserError(
                f"decode {self.decode} needs draws that together show each patch once: {patches} patches of which "
                f"{seen} are visible do not allow {self.num_draws} draws; set decode: all, or a multiple of {group}"
            )
        # The patches that the next draw of the group sees are masked in this one.
        following = visible.unflatten(0, (-1, group)).roll(-1, dims=1).flatten(0, 1)
        kinds = _KINDS[self.decode]
        wanted = torch.cat([following if masked else visible for masked in kinds], dim=1)
        masked = torch.tensor(kinds).repeat(self.num_draws // group)  # image
        return Draws(visible, masked[:, None].expand(-1, patches), wanted, group)


@dataclass(frozen=True)
class Draws:
    """Masks of a network, as constants.

    Attributes:
        visible: places that the encoder sees in each draw.
        masked: True at patches of each reconstructed image that the encoder did not see.
        wanted: places to reconstruct in each draw, one part for each kind of image; None: all.
        group: draws that together give whole images, one of each kind.
    """

    visible: Int[Tensor, "draw visible"]
    masked: Bool[Tensor, "image patch"]
    wanted: Int[Tensor, "draw query"] | None = None
    group: int = 1

    def reconstruct(
        self, model: MemMcMae, patches: Float[Tensor, "batch patch value"]
    ) -> Float[Tensor, "batch image patch value"]:
        """Return the reconstructed images, as patches."""
        batch = patches.shape[0]  # len would fix the batch of an exported graph
        visible = self.visible.to(patches.device).expand(batch, -1, -1)
        if self.wanted is None:
            found: Tensor = model(patches, visible)
            return found
        wanted = self.wanted.to(patches.device)
        decoded = model(patches, visible, wanted.expand(batch, -1, -1))  # batch draw query value
        return self._join(decoded, wanted)

    def _join(
        self, decoded: Float[Tensor, "batch draw query value"], wanted: Int[Tensor, "draw query"]
    ) -> Float[Tensor, "batch image patch value"]:
        """Return the patches of each group of draws in the order of their places."""
        seen = self.visible.shape[1]
        places = wanted.unflatten(0, (-1, self.group)).unflatten(2, (-1, seen))  # set draw kind patch
        order = places.transpose(1, 2).flatten(2).argsort(-1).flatten(0, 1)  # image patch
        parts = decoded.unflatten(1, (-1, self.group)).unflatten(3, (-1, seen))  # batch set draw kind patch value
        images: Tensor = parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # batch image patch value
        ordered: Tensor = images.gather(2, order[None, ..., None].expand_as(images))
        return ordered
