"""Settings of a MemMC-MAE network."""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from mnemic_core.errors import UserError, check_choice, check_heads, check_range
from mnemic_core.memory_config import check_options

MemoryName = Literal["persistent", "product_key", "none"]
Levels = Literal["all", "uniform4", "last", "none"]
Gates = Literal["channel", "head"]
CrossQueries = Literal["all", "masked"]

_SET_BY_ENCODER = {"persistent": ("num_heads",), "product_key": ("out_dim",)}


@dataclass(frozen=True)
class EncoderMemory:
    """The memory of normal patterns in every block of the encoder.

    Args:
        name: ``persistent`` (paper) adds learned keys and values to the self-attention; ``product_key`` recalls learned
            values in a branch after it; ``none``.
        options: of that mechanism, such as ``{"num_slots": 40}``.

    Raises:
        UserError: if there is no such memory, or it has no such option.
    """

    name: MemoryName = "persistent"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(MemoryName, memory=self.name)
        # The encoder sets its own heads and width; without a memory there is no gradient to stop.
        check_options(self.name, self.options, ("detach", *_SET_BY_ENCODER.get(self.name, ())))


@dataclass(frozen=True)
class FeatureConfig:
    """A frozen network whose features are reconstructed instead of pixels.

    Args:
        backbone: ``resnet50`` or a timm model with feature maps.
        num_levels: how many of its deepest feature maps; each is resized to the grid and all are concatenated.
        grid: side of the grid of feature vectors, one of which is a patch.
    """

    backbone: str = "tf_efficientnet_lite0"
    num_levels: int = 3
    grid: int = 14

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "num_levels")
        check_range(self, 2, inf, "grid")


@dataclass(frozen=True)
class MemMcMaeConfig:
    """Settings of the network; the defaults are a ViT-B/16 masked autoencoder with the additions of the paper.

    The paper's own sizes could not be read; ``docs/decisions/0021-memmc-mae-choices.md`` gives the reason of each.

    Args:
        image_size: side of the square image in pixels.
        patch_size: side of a patch in pixels; divides ``image_size``.
        channels: 1 for grey, 3 for color.
        dim: width of the encoder; a multiple of 4.
        depth: its blocks.
        num_heads: its attention heads.
        decoder_dim: width of the decoder; a multiple of 4.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
        memory: memory of normal patterns in the encoder.
        levels: encoder blocks that the decoder attends to: ``all``, four at equal distances, the ``last``, or ``none``
            for the decoder of a plain masked autoencoder.
        gates: how levels are weighted: for each ``channel`` after the output projection, or for each ``head`` before
            it, which is faster.
        cross_queries: which tokens of the decoder attend to the encoder: ``all`` or the ``masked`` ones.
        decoder_self_attention: let tokens of the decoder attend to each other. Without it patches are decoded
            independently, so that scoring decodes only those that it needs.
        mask_ratio: share of the patches that the encoder does not see, 0 to 1.
        features: network whose features are reconstructed; None: pixels, as in the paper.
    """

    image_size: int = 224
    patch_size: int = 16
    channels: int = 3
    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    memory: EncoderMemory = field(default_factory=EncoderMemory)
    levels: Levels = "all"
    gates: Gates = "channel"
    cross_queries: CrossQueries = "all"
    decoder_self_attention: bool = True
    mask_ratio: float = 0.75
    features: FeatureConfig | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "patch_size", "dim", "depth", "num_heads", "decoder_dim", "decoder_depth")
        check_range(self, 1, inf, "decoder_heads", "image_size")
        check_range(self, 0, 1, "mask_ratio")
        for options, name in ((Levels, "levels"), (Gates, "gates"), (CrossQueries, "cross_queries")):
            check_choice(options, **{name: getattr(self, name)})
        check_heads(self.dim, self.num_heads)
        check_heads(self.decoder_dim, self.decoder_heads)
        if self.dim % 4 or self.decoder_dim % 4:
            raise UserError(f"dim and decoder_dim must be multiples of 4, got {self.dim} and {self.decoder_dim}")
        if self.channels not in (1, 3):
            raise UserError(f"channels must be 1 (grey) or 3 (color), got {self.channels}")
        if self.features is None and self.image_size % self.patch_size:
            raise UserError(f"patch_size must divide image_size, got {self.patch_size} and {self.image_size}")
        if self.features is not None and self.channels != 3:
            raise UserError(f"features need channels 3, got {self.channels}: grey images are repeated")
        if not 1 <= self.num_visible < self.num_patches:
            raise UserError(
                f"mask_ratio {self.mask_ratio} leaves {self.num_visible} of {self.num_patches} patches visible: "
                "at least one must be visible and one masked"
            )
        if self.levels == "none" and not self.decoder_self_attention:
            raise UserError("a decoder without levels needs decoder_self_attention: it would see nothing")

    @property
    def grid(self) -> int:
        """Patches in a row of the image."""
        return self.image_size // self.patch_size if self.features is None else self.features.grid

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return self.grid**2

    @property
    def num_visible(self) -> int:
        """Patches that the encoder sees."""
        return int(self.num_patches * (1 - self.mask_ratio) + 1e-9)

    @property
    def level_indices(self) -> tuple[int, ...]:
        """Encoder blocks, from 0, that the decoder attends to."""
        if self.levels == "uniform4":
            count = min(4, self.depth)
            return tuple((index + 1) * self.depth // count - 1 for index in range(count))
        return {"all": tuple(range(self.depth)), "last": (self.depth - 1,), "none": ()}[self.levels]
