"""The MeMOTR network: from an image and the track queries to boxes and scores of new and tracked objects.

Source: "MeMOTR: Long-Term Memory-Augmented Transformer for Multi-Object Tracking", arXiv 2307.15700.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.pretrained import PretrainedModel
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.decoder import Decoder
from mnemic_vision.memotr.embeddings import logit, sine_image
from mnemic_vision.memotr.encoder import EncodedImage, Encoder
from mnemic_vision.memotr.output import FrameOutput, LayerPrediction
from mnemic_vision.memotr.queries import DetectQueries, Queries
from mnemic_vision.memotr.track_memory import TrackMemory
from mnemic_vision.memotr.tracks import TrackState, empty_slots


class Memotr(PretrainedModel):
    """Detector with track queries and their memory, built by `build_memotr`.

    The module holds parameters only; the tracks are a `TrackState` that the caller keeps::

        output = model(images, padding, tracks)
        tracks = advance(model, tracks, output, thresholds)

    Args:
        config: configuration of all parts.
        backbone: from images to feature maps.
        projections: from feature maps to tokens of one width; see `project_levels`.
        encoder: from tokens to an `EncodedImage`.
        detect_queries: from an `EncodedImage` to the queries for new objects.
        decoder: from queries and an `EncodedImage` to boxes.
        track_memory: from the tracks of a frame to the track queries of the next one.

    Example:
        >>> from mnemic_vision.memotr import build_memotr
        >>> config = MemotrConfig(dim=32, ffn_dim=32, encoder_layers=1, decoder_layers=2, num_queries=5, capacity=4)
        >>> model = build_memotr(config).eval()
        >>> images, padding = torch.zeros(1, 3, 128, 128), torch.zeros(1, 128, 128, dtype=torch.bool)
        >>> model(images, padding, model.init_tracks(batch=1)).boxes.shape  # 5 detect and 4 track queries
        torch.Size([1, 9, 4])
    """

    config_class = MemotrConfig

    def __init__(
        self,
        config: MemotrConfig,
        backbone: nn.Module,
        projections: nn.ModuleList,
        encoder: Encoder,
        detect_queries: nn.Module,
        decoder: Decoder,
        track_memory: TrackMemory,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.projections = projections
        self.encoder = encoder
        self.detect_queries = detect_queries
        self.decoder = decoder
        self.class_heads = nn.ModuleList(nn.Linear(config.dim, config.num_classes) for _ in decoder.layers)
        self.track_memory = track_memory

    @classmethod
    def from_config(cls, config: MemotrConfig) -> "Memotr":
        """Return a new network; the same as `build_memotr`."""
        from mnemic_vision.memotr.build import build_memotr  # imported here, since the builder imports the model

        return build_memotr(config)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        padding: Bool[Tensor, "batch height width"],
        tracks: TrackState,
    ) -> FrameOutput:
        """Return boxes and scores of new and tracked objects in a frame.

        Args:
            images: RGB normalized with ImageNet's mean and standard deviation, zero at padding.
            padding: True at pixels right of and below the image.
            tracks: state after the previous frame; `init_tracks` at the start.
        """
        return self.detect(self.backbone(images), padding, tracks)

    def detect(
        self,
        features: Sequence[Float[Tensor, "batch _channels _height _width"]],
        padding: Bool[Tensor, "batch height width"],
        tracks: TrackState,
    ) -> FrameOutput:
        """Return the same as `forward`, from the feature maps of the backbone."""
        image = self.encode(features, padding)
        detect = self.detect_queries(image)
        queries = self.join_queries(detect, tracks)
        return self.decode(detect, queries, image)

    def encode(
        self,
        features: Sequence[Float[Tensor, "batch _channels _height _width"]],
        padding: Bool[Tensor, "batch height width"],
    ) -> EncodedImage:
        """Project feature maps to one width and run the encoder over all levels."""
        levels = [project(feature) for project, feature in zip(self.projections, features, strict=False)]
        source = features[-1]  # each further level reads the one before it, the first reads the last feature map
        for project in self.projections[len(features) :]:
            source = project(source)
            levels.append(source)
        # Nearest neighbor, as in the official code: a cell is padding if its first pixel is.
        paddings = [
            F.interpolate(padding[:, None].float(), size=level.shape[-2:])[:, 0].to(torch.bool) for level in levels
        ]
        positions = [sine_image(level, self.config.dim) for level in paddings]
        image: EncodedImage = self.encoder(levels, paddings, positions)
        return image

    def join_queries(self, detect: DetectQueries, tracks: TrackState) -> Queries:
        """Return the queries ``[detect ; track]``."""
        batch, count, _ = detect.query.shape
        detect_padding = torch.zeros(batch, count, dtype=torch.bool, device=tracks.valid.device)
        return Queries(
            query=torch.cat([detect.query.to(tracks.query.dtype), tracks.query], dim=1),
            reference=torch.cat([detect.reference, tracks.reference], dim=1),
            padding=torch.cat([detect_padding, ~tracks.valid], dim=1),
            num_detect=count,
        )

    def decode(self, detect: DetectQueries, queries: Queries, image: EncodedImage) -> FrameOutput:
        """Return boxes and scores of the queries in an encoded image."""
        decoded = self.decoder(queries, image)
        # In float32, since scores are compared with thresholds.
        with torch.autocast(image.tokens.device.type, enabled=False):
            logits = [head(hidden.float()) for head, hidden in zip(self.class_heads, decoded.hidden, strict=True)]
        return FrameOutput(
            layers=tuple(LayerPrediction(*pair) for pair in zip(logits, decoded.boxes, strict=True)),
            hidden=decoded.hidden[-1],
            newborn=decoded.newborn,
            reference=logit(decoded.references[-1]),
            padding=queries.padding,
            detect=detect,
        )

    def init_tracks(self, batch: int, capacity: int | None = None) -> TrackState:
        """Return the state before the first frame of each stream."""
        config, device = self.config, self.encoder.level_embed.device
        capacity = config.capacity if capacity is None else capacity
        slots = empty_slots(batch, capacity, config.query_dim, config.dim, config.num_classes, device)
        memory = self.track_memory.init_memory(batch * capacity, device)
        return TrackState(**slots, memory=memory, next_id=torch.zeros(batch, dtype=torch.long, device=device))


def project_levels(channels: Sequence[int], dim: int, num_levels: int) -> nn.ModuleList:
    """Return 1x1 convolutions for the backbone's maps and stride-2 ones for further levels, with group norm.

    The first further level reads the backbone's last map, not its projection.
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
