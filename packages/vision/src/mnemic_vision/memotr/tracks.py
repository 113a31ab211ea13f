"""The track buffer: what MeMOTR carries from one frame to the next."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils import _pytree as pytree

from mnemic_core import MemoryState
from mnemic_vision.boxes import pairwise_iou

NEGATIVE_ID = -1  # a confident false positive that training keeps as a negative track, or an unused slot
SAME_IOU = 0.5  # boxes that overlap by more are of one object, where detect queries do not know the tracks

Slots = TypeVar("Slots", bound="TrackSlots")


@dataclass(frozen=True)
class TrackSlots(MemoryState):
    """What is known of each track, one slot a track.

    Attributes:
        valid: True at used slots.
        ids: identity, counted from 0 a stream and never used again; `NEGATIVE_ID` elsewhere.
        labels: class at birth.
        missed: consecutive frames without the object.
        query: content of the next frame's query (position and content in the deformable variant).
        reference: logits of (cx, cy, width, height), normalised to the image.
        output: the decoder's output for the track in the latest frame.
        last_output: the output of the latest frame in which the track was confident (short-term memory).
        boxes: predicted boxes of the latest frame, cxcywh in [0, 1].
        logits: class logits of the latest frame.
        matched: index of the assigned ground truth in training, -1 without.
        iou: overlap with it.
    """

    valid: Bool[Tensor, "batch track"]
    ids: Int[Tensor, "batch track"]
    labels: Int[Tensor, "batch track"]
    missed: Int[Tensor, "batch track"]
    query: Float[Tensor, "batch track query_dim"]
    reference: Float[Tensor, "batch track 4"]
    output: Float[Tensor, "batch track dim"]
    last_output: Float[Tensor, "batch track dim"]
    boxes: Float[Tensor, "batch track 4"]
    logits: Float[Tensor, "batch track label"]
    matched: Int[Tensor, "batch track"]
    iou: Float[Tensor, "batch track"]

    @property
    def scores(self) -> Float[Tensor, "batch track"]:
        """Largest class probability of each slot, 0 where unused."""
        return self.logits.sigmoid().amax(dim=-1) * self.valid

    def take(self: Slots, slots: Int[Tensor, "batch taken"]) -> Slots:
        """Return the given slots of each stream."""
        return self.map(lambda tensor: _take(tensor, slots) if tensor.dim() > 1 else tensor)


@dataclass(frozen=True)
class TrackState(TrackSlots):
    """A buffer of ``capacity`` slots a stream; used slots come first, in order of birth.

    Attributes:
        memory: long-term memory of each slot; its tensors have the axes (batch, track, ...).
        next_id: the identity that the next newborn of a stream gets.
    """

    memory: MemoryState
    next_id: Int[Tensor, " batch"]

    def map(self, fn: Callable[[Tensor], Tensor]) -> "TrackState":
        """Return a copy with ``fn`` applied to every tensor, those of the memory included."""
        return cast(TrackState, _each(self, fn))

    def compact(self, keep: Bool[Tensor, "batch track"]) -> "TrackState":
        """Return the kept slots in front, in their order; the others become unused."""
        order = (~keep).long().argsort(dim=1, stable=True)
        return _blank_unused(replace(self.take(order), valid=keep.gather(1, order)))

    def append(self, newborn: TrackSlots) -> tuple["TrackState", Bool[Tensor, "batch track"]]:
        """Return the buffer with the valid slots of ``newborn`` behind the used ones, and where these are.

        Where free slots do not suffice, the newborn of highest score get them. The long-term memory of a newborn
        still holds what its slot held before: the caller resets it.
        """
        capacity = self.valid.shape[1]
        free = capacity - self.valid.sum(dim=1, keepdim=True)
        rank = newborn.scores.masked_fill(~newborn.valid, -1).argsort(dim=1, descending=True, stable=True)
        newborn = replace(newborn, valid=newborn.valid & (rank.argsort(dim=1) < free))
        used = torch.cat([self.valid, newborn.valid], dim=1)
        order = (~used).long().argsort(dim=1, stable=True)[:, :capacity]
        joined = {
            field.name: _take(torch.cat([getattr(self, field.name), getattr(newborn, field.name)], dim=1), order)
            for field in fields(TrackSlots)
        }
        memory = _each(self.memory, lambda tensor: _take(tensor, order.clamp(max=capacity - 1)))
        grown = _blank_unused(replace(self, **joined, memory=memory))
        return grown, (order >= capacity) & grown.valid


def _each(state: MemoryState, fn: Callable[[Tensor], Tensor]) -> MemoryState:
    """Apply ``fn`` past the constructors, whose annotations say (row, ...): here a row has two axes."""
    return cast(MemoryState, pytree.tree_map(fn, state))


def _take(tensor: Tensor, slots: Tensor) -> Tensor:
    """Gather along the slot axis whatever axes follow it."""
    trailing = tensor.shape[2:]
    return tensor.gather(1, slots.reshape(*slots.shape, *[1] * len(trailing)).expand(*slots.shape, *trailing))


def _blank_unused(tracks: TrackState) -> TrackState:
    """Clear what could reach other slots: a NaN passes even through the zero weights of masked attention."""
    unused = ~tracks.valid
    vectors = ("query", "reference", "output", "last_output", "boxes", "logits")
    cleared = {name: getattr(tracks, name).masked_fill(unused[..., None], 0) for name in vectors}
    return replace(
        tracks,
        ids=tracks.ids.masked_fill(unused, NEGATIVE_ID),
        missed=tracks.missed.masked_fill(unused, 0),
        matched=tracks.matched.masked_fill(unused, -1),
        **cleared,
    )


def empty_slots(
    batch: int,
    num_slots: int,
    query_dim: int,
    dim: int,
    num_classes: int,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """Return the fields of `TrackSlots` for unused slots."""

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(batch, num_slots, *shape, device=device, dtype=dtype)

    return {
        "valid": zeros(dtype=torch.bool),
        "ids": zeros(dtype=torch.long) + NEGATIVE_ID,
        "labels": zeros(dtype=torch.long),
        "missed": zeros(dtype=torch.long),
        "query": zeros(query_dim),
        "reference": zeros(4),
        "output": zeros(dim),
        "last_output": zeros(dim),
        "boxes": zeros(4),
        "logits": zeros(num_classes),
        "matched": zeros(dtype=torch.long) - 1,
        "iou": zeros(),
    }


def is_distinct(
    detections: TrackSlots, tracks: TrackSlots, priority: Float[Tensor, "batch query"]
) -> Bool[Tensor, "batch query"]:
    """Return which detections overlap neither a track nor a detection of higher priority, by more than `SAME_IOU`."""
    with_tracks = (pairwise_iou(detections.boxes, tracks.boxes) > SAME_IOU) & tracks.valid[:, None]
    return ~(with_tracks.any(dim=2) | _has_better(detections, priority, SAME_IOU))


def find_again(
    tracks: TrackState,
    detections: TrackSlots,
    priority: Float[Tensor, "batch query"],
    sure: Bool[Tensor, "batch query"],
) -> TrackState:
    """Return the tracks, of which those that were missed go on with the detection in their place.

    Such a detection is ``sure``, distinct from every seen track and from better detections, of the track's class, and
    overlaps the track by more than `SAME_IOU`; among several pairs those that overlap most belong together.
    """
    missed = tracks.valid & (tracks.missed > 0)
    free = sure & is_distinct(detections, replace(tracks, valid=tracks.valid & ~missed), priority)
    is_same_class = detections.labels[:, :, None] == tracks.labels[:, None]
    allowed = free[:, :, None] & missed[:, None] & is_same_class
    overlap = pairwise_iou(detections.boxes, tracks.boxes) * allowed
    best, chosen = overlap.max(dim=1)
    is_mutual = overlap.argmax(dim=2).gather(1, chosen) == torch.arange(chosen.shape[1], device=chosen.device)
    found = is_mutual & (best > SAME_IOU)
    place, mask = detections.take(chosen), found[..., None]
    return replace(
        tracks,
        missed=torch.where(found, 0, tracks.missed),
        output=torch.where(mask, place.output, tracks.output),
        boxes=torch.where(mask, place.boxes, tracks.boxes),
        logits=torch.where(mask, place.logits, tracks.logits),
    )


def is_duplicate(tracks: TrackState, seen: Bool[Tensor, "batch track"], iou: float) -> Bool[Tensor, "batch track"]:
    """Return which of the ``seen`` tracks overlap an older one of them by more than ``iou``."""
    age = torch.arange(seen.shape[1], 0, -1, device=tracks.device)  # slots are in order of birth
    return seen & _has_better(tracks, age * seen, iou)


def _has_better(slots: TrackSlots, priority: Tensor, iou: float) -> Tensor:
    """Return which slots overlap one of higher priority by more than ``iou``."""
    is_better = priority[:, None] > priority[:, :, None]
    return ((pairwise_iou(slots.boxes, slots.boxes) > iou) & is_better).any(dim=2)


def split_rows(memory: MemoryState, batch: int) -> MemoryState:
    """Give a memory with one row a track the axes (batch, track, ...)."""
    return _each(memory, lambda tensor: tensor.unflatten(0, (batch, tensor.shape[0] // batch)))


def join_rows(memory: MemoryState) -> MemoryState:
    """Undo `split_rows`: core memories know only rows."""
    return _each(memory, lambda tensor: tensor.flatten(0, 1))
