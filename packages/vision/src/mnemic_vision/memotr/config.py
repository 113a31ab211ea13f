"""Settings of a MeMOTR network."""

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError, check_range
from mnemic_core.listing import lists_memories


@lists_memories(lambda entry: entry.is_read_write)
@dataclass(frozen=True)
class MemotrConfig:
    """Settings of the network; the defaults are the paper's DanceTrack model.

    Args:
        detector: ``dab`` (queries are boxes with content, the main model) or ``deformable`` (the D-DETR variant;
            its published feed-forward width is 1024).
        dim: width of tokens and queries; a multiple of 32 and of ``num_heads``.
        num_heads: attention heads of encoder and decoder.
        memory_heads: heads of the attention between tracks (always 8 in the official code).
        ffn_dim: hidden width of every feed-forward block.
        num_levels: feature levels; those beyond the backbone's come from stride-2 convolutions.
        encoder_points: sampling points per head and level in the encoder.
        decoder_points: sampling points per head and level in the decoder.
        encoder_layers: encoder depth.
        decoder_layers: decoder depth.
        merge_layer: first decoder layer with track queries; layers before it process detect queries only.
        num_queries: detect queries, the maximum number of births in a frame.
        num_classes: object classes.
        capacity: track slots per stream; newborns beyond it are dropped, lowest score first.
        dropout: dropout in encoder, decoder and memory.
        backbone: ``resnet50`` (torchvision, frozen batch norm) or any timm ``features_only`` model.
        backbone_levels: number of the backbone's feature maps to use, the deepest ones.
        pretrained_backbone: freeze batch norm and fine stages, as for pretrained weights; False to train a timm
            backbone from scratch.
        memory: long-term memory of a track (``exponential`` is the paper's): {memories}.
        update_threshold: memory and reference of a track change only where its score is higher.
        two_stage: detect queries start from the encoder's best distinct tokens instead of learned anchors.
            Not in MeMOTR; a detector trained from scratch needs far fewer steps.
        detect_alone: detect queries do not attend to the tracks and detect every object in every frame; a detection
            that overlaps a track continues it if it was missed and is dropped otherwise. Not in MeMOTR, whose detect
            queries learn to leave out tracked objects, which takes far more training.
        denoising_groups: groups of noised ground-truth queries in training (0: off). Not in MeMOTR.
        activation_checkpointing: recompute encoder layers in the backward pass to save memory.
    """

    detector: Literal["dab", "deformable"] = "dab"
    dim: int = 256
    num_heads: int = 8
    memory_heads: int = 8
    ffn_dim: int = 2048
    num_levels: int = 4
    encoder_points: int = 4
    decoder_points: int = 4
    encoder_layers: int = 6
    decoder_layers: int = 6
    merge_layer: int = 1
    num_queries: int = 300
    num_classes: int = 1
    capacity: int = 128
    dropout: float = 0.0
    backbone: str = "resnet50"
    backbone_levels: int = 3
    pretrained_backbone: bool = True
    memory: MemoryConfig = field(default_factory=lambda: MemoryConfig("exponential"))
    update_threshold: float = 0.5
    two_stage: bool = False
    detect_alone: bool = False
    denoising_groups: int = 0
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        self.memory.require("is read and written", lambda entry: entry.is_read_write)
        check_range(self, 1, inf, "dim", "num_heads", "memory_heads", "ffn_dim", "num_levels", "encoder_points")
        check_range(self, 1, inf, "decoder_points", "encoder_layers", "decoder_layers", "num_queries", "num_classes")
        check_range(self, 1, inf, "capacity", "backbone_levels")
        check_range(self, 0, inf, "denoising_groups")
        check_range(self, 0, 1, "dropout", "update_threshold")
        for heads in ("num_heads", "memory_heads"):
            if self.dim % getattr(self, heads):
                raise UserError(f"{heads} must divide dim, got dim={self.dim}, {heads}={getattr(self, heads)}")
        if self.dim % 32:
            raise UserError(f"dim must be a multiple of 32 (the projections' group norm), got {self.dim}")
        if not 0 <= self.merge_layer < self.decoder_layers:
            raise UserError(
                f"merge_layer must be in 0..decoder_layers-1, got {self.merge_layer} of {self.decoder_layers}"
            )
        if self.detector == "deformable" and self.merge_layer == 0:
            raise UserError("detector='deformable' needs merge_layer >= 1: its first layer has points, not boxes")
        if self.detector == "deformable" and (self.two_stage or self.denoising_groups):
            raise UserError("two_stage and denoising_groups need detector='dab', whose queries are boxes")

    @property
    def query_dim(self) -> int:
        """Width of a stored track query: content, or position and content in the deformable variant."""
        return self.dim if self.detector == "dab" else 2 * self.dim

    @property
    def smallest_side(self) -> int:
        """Pixels of the sides of the smallest input, which with ``two_stage`` must give a token for each query."""
        strides = [2 ** (6 - self.backbone_levels + level) for level in range(self.num_levels)]
        side = 32
        while self.two_stage and sum(ceil(side / stride) ** 2 for stride in strides) < self.num_queries:
            side += 32
        return side
