"""The MeMOTR network: one frame and the track queries in, boxes and scores for new and known objects out.

Source: "MeMOTR: Long-Term Memory-Augmented Transformer for Multi-Object Tracking", arXiv 2307.15700.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import ReadWriteMemory
from mnemic_core.errors import UserError
from mnemic_core.pretrained import PretrainedModel
from mnemic_vision.backbone import build_backbone
from mnemic_vision.deformable_attention import DeformableAttention
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.embeddings import logit, sine_image
from mnemic_vision.memotr.proposals import Denoising, DenseProposals, NoisedQueries, ProposalHead, blocked_between
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.track_memory import TrackMemory
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, empty_slots, split_rows
from mnemic_vision.memotr.transformer import DecodedQueries, Decoder, EncodedImage, Encoder

CLASS_PRIOR = 0.01  # initial probability of every class


@dataclass(frozen=True)
class LayerPrediction:
    """What one decoder layer predicts for ``[detect ; track]``.

    Attributes:
        logits: class logits (sigmoid, no background class).
        boxes: cxcywh in [0, 1] of the image without padding.
    """

    logits: Float[Tensor, "batch query label"]
    boxes: Float[Tensor, "batch query 4"]


@dataclass(frozen=True)
class TrainingAids:
    """Predictions that exist in training only.

    Attributes:
        proposals: dense proposals of the encoder, with ``two_stage``.
        noised: the noised queries, with ``denoising_groups``.
        denoised: their predictions, one a layer.
    """

    proposals: DenseProposals | None = None
    noised: NoisedQueries | None = None
    denoised: tuple[LayerPrediction, ...] = ()


@dataclass(frozen=True)
class FrameOutput:
    """What the network answers for one frame; queries are ``[detect ; track]``.

    Attributes:
        layers: predictions of each decoder layer; the last one counts.
        hidden: output embedding of the last layer.
        newborn: input of the last layer, the content that a newborn track starts with.
        reference: logits of the boxes going into the last layer.
        initial_reference: logits of the boxes going into the first layer.
        padding: True at unused track queries.
        num_detect: number of detect queries.
        aids: predictions for training only.
    """

    layers: tuple[LayerPrediction, ...]
    hidden: Float[Tensor, "batch query dim"]
    newborn: Float[Tensor, "batch query newborn_dim"]
    reference: Float[Tensor, "batch query 4"]
    initial_reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    num_detect: int
    aids: TrainingAids = field(default_factory=TrainingAids)

    @property
    def logits(self) -> Float[Tensor, "batch query label"]:
        """Class logits of the last layer."""
        return self.layers[-1].logits

    @property
    def boxes(self) -> Float[Tensor, "batch query 4"]:
        """Boxes of the last layer."""
        return self.layers[-1].boxes


@dataclass(frozen=True)
class Queries:
    """What goes into the decoder."""

    content: Tensor
    positions: Tensor | None
    reference: Tensor
    padding: Tensor
    noised: NoisedQueries | None = None
    proposals: DenseProposals | None = None


class Memotr(PretrainedModel):
    """Detector with track queries and their memory.

    The module holds parameters only; what is known of the tracks is a `TrackState` that the caller carries::

        output = model(images, padding, tracks)
        tracks = model.advance(tracks, output, ...)      # see `inference` and `criterion`

    Args:
        config: sizes and switches.

    Example:
        >>> config = MemotrConfig(dim=32, ffn_dim=32, encoder_layers=1, decoder_layers=2, num_queries=5, capacity=4)
        >>> model = Memotr(config).eval()
        >>> images, padding = torch.zeros(1, 3, 128, 128), torch.zeros(1, 128, 128, dtype=torch.bool)
        >>> model(images, padding, model.init_tracks(batch=1)).boxes.shape  # 5 detect and 4 track queries
        torch.Size([1, 9, 4])
    """

    config_class = MemotrConfig

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.backbone: nn.Module = build_backbone(config.backbone, config.backbone_levels, config.pretrained_backbone)
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.projections = project_levels(self.backbone.channels, dim, config.num_levels)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.class_heads = nn.ModuleList(nn.Linear(dim, config.num_classes) for _ in range(config.decoder_layers))
        if config.two_stage:
            self.proposal_head = ProposalHead(config)
        else:
            self.detect_query = nn.Parameter(torch.randn(config.num_queries, config.query_dim))
        if config.detector == "deformable":
            self.reference_points = nn.Linear(dim, 2)
        elif not config.two_stage:
            self.anchors = nn.Parameter(torch.randn(config.num_queries, 4))
        if config.denoising_groups:
            self.denoising = Denoising(config)
        self._initialise()
        self.track_memory = TrackMemory(config, cast(ReadWriteMemory[Any], config.memory.build(dim)))

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: TrackState,
        targets: list[Target] | None = None,
    ) -> FrameOutput:
        """Detect new objects and find the tracked ones in a frame.

        Args:
            images: RGB normalised with ImageNet's mean and standard deviation, zero at padding.
            padding: True at pixels right of and below the image.
            tracks: state after the previous frame; `init_tracks` at the start.
            targets: ground truth to denoise, in training with ``denoising_groups``.
        """
        # channels_last: convolutions are about a third faster on CPU, and tensor cores want it on GPU.
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return self.detect(features, padding, tracks, targets)

    def detect(
        self,
        features: Sequence[Float[Tensor, "batch _channels _height _width"]],
        padding: Bool[Tensor, "batch height width"],
        tracks: TrackState,
        targets: list[Target] | None = None,
    ) -> FrameOutput:
        """Do what `forward` does, from the backbone's feature maps."""
        image = self._encode(features, padding)
        queries = self._queries(image, tracks, targets)
        num_noised = 0 if queries.noised is None else queries.noised.content.shape[1]
        decoded = self.decoder(
            queries.content,
            queries.positions,
            queries.reference.sigmoid(),
            image,
            queries.padding,
            num_noised + self.config.num_queries,
            self._blocked(queries, num_noised),
        )
        return self._output(decoded, queries, num_noised)

    def init_tracks(self, batch: int, capacity: int | None = None) -> TrackState:
        """Return the state before the first frame of each stream."""
        config, device = self.config, self.encoder.level_embed.device
        capacity = config.capacity if capacity is None else capacity
        slots = empty_slots(batch, capacity, config.query_dim, config.dim, config.num_classes, device)
        memory = self.track_memory.init_memory(batch * capacity, device)
        return TrackState(
            **slots, memory=split_rows(memory, batch), next_id=torch.zeros(batch, dtype=torch.long, device=device)
        )

    def observe(self, tracks: TrackState, output: FrameOutput) -> tuple[TrackState, TrackSlots]:
        """Return the tracks with this frame's output written to them, and the detections as possible newborn.

        The detections have valid False and no identity: who becomes a track is decided by `inference` or `criterion`.
        """
        count = output.num_detect
        seen = replace(
            tracks,
            output=output.hidden[:, count:].float(),
            boxes=output.boxes[:, count:],
            logits=output.logits[:, count:],
        )
        batch, device = output.boxes.shape[0], output.boxes.device
        config = self.config
        slots = empty_slots(batch, count, config.query_dim, config.dim, config.num_classes, device)
        hidden = output.hidden[:, :count].float()
        detections = slots | {
            "labels": output.logits[:, :count].argmax(dim=-1),
            "query": output.newborn[:, :count].float(),
            "reference": output.reference[:, :count],
            "output": hidden,
            "last_output": hidden,
            "boxes": output.boxes[:, :count],
            "logits": output.logits[:, :count],
        }
        return seen, TrackSlots(**detections)

    def _encode(self, features: Sequence[Tensor], padding: Tensor) -> EncodedImage:
        """Project the feature maps to one width, add levels, run the encoder."""
        levels = [project(feature) for project, feature in zip(self.projections, features, strict=False)]
        source = features[-1]
        for project in self.projections[len(features) :]:
            source = project(source)
            levels.append(source)
        paddings = [
            F.interpolate(padding[:, None].float(), size=level.shape[-2:])[:, 0].to(torch.bool) for level in levels
        ]
        positions = [sine_image(level, self.config.dim) for level in paddings]
        encoded: EncodedImage = self.encoder(levels, paddings, positions)
        return encoded

    def _queries(self, image: EncodedImage, tracks: TrackState, targets: list[Target] | None) -> Queries:
        """Put the queries in the order ``[noised ; detect ; track]``."""
        batch, dim = tracks.valid.shape[0], self.config.dim
        proposals = None
        if self.config.two_stage:
            content, reference, proposals = self.proposal_head(image)
        else:
            content = self.detect_query.expand(batch, -1, -1)
            reference = self._detect_reference().expand(batch, -1, -1)
        contents, references = [content, tracks.query], [reference, tracks.reference]
        paddings = [torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device), ~tracks.valid]
        noised = None
        if self.training and self.config.denoising_groups and targets is not None:
            noised = self.denoising(targets)
            contents, references = [noised.content, *contents], [noised.reference, *references]
            paddings = [noised.padding, *paddings]
        joined = torch.cat([part.to(image.tokens.dtype) for part in contents], dim=1)
        positions = None
        if self.config.detector == "deformable":
            positions, joined = joined[..., :dim], joined[..., dim:]
        return Queries(joined, positions, torch.cat(references, dim=1), torch.cat(paddings, dim=1), noised, proposals)

    def _blocked(self, queries: Queries, num_noised: int) -> Tensor | None:
        """Return True where one query may not see another, None where all see all."""
        if queries.noised is None and not self.config.detect_alone:
            return None
        count = queries.content.shape[1]
        if queries.noised is None:
            blocked = torch.zeros(count, count, dtype=torch.bool, device=queries.content.device)
        else:
            blocked = blocked_between(queries.noised.group, count)
        if self.config.detect_alone:
            first_track = num_noised + self.config.num_queries
            blocked[num_noised:first_track, first_track:] = True
        return blocked

    def _detect_reference(self) -> Tensor:
        """Return the logits of the detect queries' first boxes; a point with two zeros in the deformable variant."""
        if self.config.detector == "dab":
            return self.anchors
        return F.pad(self.reference_points(self.detect_query[:, : self.config.dim]), (0, 2))

    def _output(self, decoded: DecodedQueries, queries: Queries, num_noised: int) -> FrameOutput:
        """Apply the class heads and separate what is for training only."""
        with torch.autocast(decoded.boxes[0].device.type, enabled=False):
            logits = [head(hidden.float()) for head, hidden in zip(self.class_heads, decoded.hidden, strict=True)]
        predictions = list(zip(logits, decoded.boxes, strict=True))
        denoised = tuple(LayerPrediction(score[:, :num_noised], box[:, :num_noised]) for score, box in predictions)
        newborn = decoded.inputs[-1]
        if queries.positions is not None:
            newborn = torch.cat([queries.positions, newborn], dim=-1)
        return FrameOutput(
            layers=tuple(LayerPrediction(score[:, num_noised:], box[:, num_noised:]) for score, box in predictions),
            hidden=decoded.hidden[-1][:, num_noised:],
            newborn=newborn[:, num_noised:],
            reference=logit(decoded.references[-1])[:, num_noised:],
            initial_reference=queries.reference[:, num_noised:],
            padding=queries.padding[:, num_noised:],
            num_detect=self.config.num_queries,
            aids=TrainingAids(queries.proposals, queries.noised, denoised if num_noised else ()),
        )

    def _initialise(self) -> None:
        """Initialise as the official code: xavier matrices, class prior 0.01, boxes that start as the reference."""
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.normal_(self.encoder.level_embed)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
        classes, boxes = list(self.class_heads), list(self.decoder.box_heads)
        if self.config.two_stage:
            classes, boxes = [*classes, self.proposal_head.class_head], [*boxes, self.proposal_head.box_head]
        for head in classes:
            nn.init.constant_(head.get_parameter("bias"), -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
        for head in boxes:
            for name in ("layers.2.weight", "layers.2.bias"):
                nn.init.zeros_(head.get_parameter(name))
        if not self.config.two_stage:
            first = self.decoder.box_heads[0].get_parameter("layers.2.bias")
            nn.init.constant_(first[2:], -2.0)  # boxes begin smaller than their anchors


def project_levels(channels: Sequence[int], dim: int, num_levels: int) -> nn.ModuleList:
    """Return 1x1 convolutions for the backbone's maps and stride-2 ones for further levels, with group norm.

    The first further level reads the backbone's last map itself, not its projection.
    """
    if num_levels < len(channels):
        raise UserError(f"num_levels must be at least the backbone's {len(channels)} maps, got {num_levels}")
    layers = [nn.Conv2d(width, dim, 1) for width in channels]
    source = channels[-1]
    for _ in range(num_levels - len(channels)):
        layers.append(nn.Conv2d(source, dim, 3, stride=2, padding=1))
        source = dim
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.get_parameter("bias"))
    return nn.ModuleList(nn.Sequential(layer, nn.GroupNorm(32, dim)) for layer in layers)
