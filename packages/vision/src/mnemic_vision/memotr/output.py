"""Output of the network for a frame."""

from dataclasses import dataclass, replace
from typing import TypeVar

from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_vision.memotr.queries import DetectQueries
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, empty_slots

Tracks = TypeVar("Tracks", bound=TrackState)


@dataclass(frozen=True)
class LayerPrediction:
    """Predictions of one decoder layer for the queries ``[detect ; track]``.

    Attributes:
        logits: class logits (sigmoid, no background class).
        boxes: cxcywh in [0, 1] of the image without padding.
    """

    logits: Float[Tensor, "batch query label"]
    boxes: Float[Tensor, "batch query 4"]


@dataclass(frozen=True)
class FrameOutput:
    """Output of the network for one frame; queries are ``[detect ; track]``.

    Attributes:
        layers: predictions of each decoder layer; those before the last are used in training.
        hidden: output embedding of the last layer.
        newborn: initial query of a newborn track, the input of the last layer.
        reference: logits of the input boxes of the last layer.
        padding: True at unused track queries.
        detect: detect queries before the decoder.
    """

    layers: tuple[LayerPrediction, ...]
    hidden: Float[Tensor, "batch query dim"]
    newborn: Float[Tensor, "batch query newborn_dim"]
    reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    detect: DetectQueries

    @property
    def num_detect(self) -> int:
        """Number of detect queries."""
        return self.detect.query.shape[1]

    @property
    def logits(self) -> Float[Tensor, "batch query label"]:
        """Class logits of the last layer."""
        return self.layers[-1].logits

    @property
    def boxes(self) -> Float[Tensor, "batch query 4"]:
        """Boxes of the last layer."""
        return self.layers[-1].boxes


def observe(tracks: Tracks, output: FrameOutput) -> tuple[Tracks, TrackSlots]:
    """Return the tracks updated with the output for this frame, and the detections as slots that are not valid yet."""
    count = output.num_detect
    seen = replace(
        tracks,
        output=output.hidden[:, count:].float(),
        boxes=output.boxes[:, count:],
        logits=output.logits[:, count:],
    )
    # In float32, because a slow average in half precision would lose its updates.
    hidden = output.hidden[:, :count].float()
    batch, _, dim = hidden.shape
    slots = empty_slots(batch, count, output.newborn.shape[2], dim, output.logits.shape[2], hidden.device)
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
