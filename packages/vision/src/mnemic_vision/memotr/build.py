"""Builds the network of a configuration."""

import math
from typing import Any, cast

from torch import nn

from mnemic_core import ReadWriteMemory
from mnemic_vision.backbone import build_backbone
from mnemic_vision.deformable_attention import DeformableAttention
from mnemic_vision.initialization import init_xavier
from mnemic_vision.memotr.aids.denoising import Denoising
from mnemic_vision.memotr.aids.detect_alone import AloneMemotr
from mnemic_vision.memotr.aids.proposals import ProposalQueries
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.decoder import Decoder, DecoderLayer
from mnemic_vision.memotr.encoder import Encoder, EncoderLayer
from mnemic_vision.memotr.model import Memotr, project_levels
from mnemic_vision.memotr.queries import BoxPositions, DabQueries, DeformableQueries, LearnedPositions
from mnemic_vision.memotr.track_memory import DeformableTrackMemory, TrackMemory

CLASS_PRIOR = 0.01  # initial probability of every class


def build_memotr(config: MemotrConfig) -> Memotr:
    """Return a new network.

    Raises:
        UserError: if the backbone is unknown or has more feature maps than the network has levels.
    """
    backbone = build_backbone(config.backbone, config.backbone_levels, config.pretrained_backbone)
    network = AloneMemotr if config.detect_alone else Memotr
    model = network(
        config,
        backbone,
        project_levels(backbone.channels, config.dim, config.num_levels),
        build_encoder(config),
        build_detect_queries(config),
        build_decoder(config),
        build_track_memory(config),
    )
    if config.denoising_groups:
        # Not called by the network, but trained and saved with it; see `aids.denoising.denoise`.
        model.add_module("denoising", Denoising(config.denoising_groups, config.num_classes, config.dim))
    _initialize(model)
    return model


def build_encoder(config: MemotrConfig) -> Encoder:
    """Return the encoder of a configuration."""
    sizes = config.dim, config.num_heads, config.num_levels, config.encoder_points, config.ffn_dim, config.dropout
    layers = (EncoderLayer(*sizes) for _ in range(config.encoder_layers))
    return Encoder(layers, config.num_levels, config.dim, config.activation_checkpointing)


def build_detect_queries(config: MemotrConfig) -> DabQueries | DeformableQueries | ProposalQueries:
    """Return the detect queries of a configuration."""
    if config.two_stage:
        return ProposalQueries(config.num_queries, config.dim, config.num_classes)
    kind = DabQueries if config.detector == "dab" else DeformableQueries
    return kind(config.num_queries, config.dim)


def build_decoder(config: MemotrConfig) -> Decoder:
    """Return the decoder of a configuration."""
    sizes = config.dim, config.num_heads, config.num_levels, config.decoder_points, config.ffn_dim, config.dropout
    layers = (DecoderLayer(*sizes) for _ in range(config.decoder_layers))
    positions = BoxPositions(config.dim) if config.detector == "dab" else LearnedPositions()
    return Decoder(layers, positions, config.dim, config.merge_layer)


def build_track_memory(config: MemotrConfig) -> TrackMemory:
    """Return the memory of a configuration."""
    memory = cast(ReadWriteMemory[Any], config.memory.build(config.dim))
    kind = TrackMemory if config.detector == "dab" else DeformableTrackMemory
    return kind(memory, config.memory_heads, config.ffn_dim, config.update_threshold, config.dropout)


def _initialize(model: Memotr) -> None:
    """Initialize as the official code: Xavier matrices, class prior 0.01, boxes equal to the reference."""
    init_xavier(model.encoder)
    init_xavier(model.decoder)
    nn.init.normal_(model.encoder.level_embed)
    # After Xavier, which would overwrite the initial sampling offsets.
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            module.reset_parameters()
    classes, boxes = [*model.class_heads], [*model.decoder.box_heads]
    if isinstance(model.detect_queries, ProposalQueries):
        classes, boxes = [*classes, model.detect_queries.class_head], [*boxes, model.detect_queries.box_head]
    for head in classes:
        nn.init.constant_(head.get_parameter("bias"), -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
    for head in boxes:
        for name in ("layers.2.weight", "layers.2.bias"):
            nn.init.zeros_(head.get_parameter(name))
    if not isinstance(model.detect_queries, ProposalQueries):
        first = model.decoder.box_heads[0].get_parameter("layers.2.bias")
        nn.init.constant_(first[2:], -2.0)  # initial boxes are smaller than their anchors
