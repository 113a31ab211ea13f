"""The track buffer: what MeMOTR carries from one frame to the next."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_vision.boxes import pairwise_iou

NEGATIVE_ID = -1  # of a confident false positive that training keeps as a negative track, and of unused slots

Slots = TypeVar("Slots", bound="TrackSlots")
Tracks = TypeVar("Tracks", bound="TrackState")


@dataclass(frozen=True)
class TrackSlots(MemoryState):
    """Tracks, or detections that may become tracks, one per slot.

    Attributes:
        valid: True at used slots.
        ids: identity, counted from 0 in each stream and never reused; `NEGATIVE_ID` elsewhere.
        labels: class at birth.
        missed: consecutive misses.
        query: query of the next frame: content, after a position in the deformable variant.
        reference: logits of (cx, cy, width, height), normalized to the image.
        output: output of the decoder in the latest frame.
        last_output: output in the latest frame in which the track was confident (short-term memory).
        boxes: predicted boxes of the latest frame, cxcywh in [0, 1].
        logits: class logits of the latest frame.
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

    @property
    def confidence(self) -> Float[Tensor, "batch track"]:
        """Largest class probability of each slot, used or not."""
        return self.logits.sigmoid().amax(dim=-1)

    @property
    def scores(self) -> Float[Tensor, "batch track"]:
        """Largest class probability of each slot, 0 where unused."""
        return self.confidence * self.valid

    def take(self: Slots, slots: Int[Tensor, "batch taken"]) -> Slots:
        """Return the given slots of each stream."""
        return replace(self, **{name: _take(getattr(self, name), slots) for name in self.slot_fields()})

    @classmethod
    def slot_fields(cls) -> list[str]:
        """Return the names of the fields with one entry per slot."""
        return [field.name for field in fields(cls) if field.name not in ("memory", "next_id")]


@dataclass(frozen=True)
class TrackState(TrackSlots):
    """The tracks of each stream in a buffer of ``capacity`` slots; used slots come first, in order of birth.

    Attributes:
        memory: long-term memory with one row per slot; row = stream * capacity + slot.
        next_id: identity of the next newborn of each stream.
    """

    memory: MemoryState
    next_id: Int[Tensor, " batch"]

    @property
    def capacity(self) -> int:
        """Slots of each stream."""
        return self.valid.shape[1]

    def take(self: Tracks, slots: Int[Tensor, "batch taken"]) -> Tracks:
        """Return the given slots of each stream with their memories."""
        return replace(super().take(slots), memory=self._memory_of(slots))

    def compact(self: Tracks, keep: Bool[Tensor, "batch track"]) -> Tracks:
        """Return the kept slots in front, in their order; the others become unused."""
        order = (~keep).long().argsort(dim=1, stable=True)  # stable: birth order survives
        return _blank_unused(replace(self.take(order), valid=keep.gather(1, order)))

    def append(self: Tracks, newborn: TrackSlots) -> tuple[Tracks, Bool[Tensor, "batch track"]]:
        """Return the buffer with the valid slots of ``newborn`` after the used ones, and True at these.

        If there are not enough free slots, the newborn with the highest scores get them. The memory rows of the newborn
        are not reset here.
        """
        capacity = self.capacity
        free = capacity - self.valid.sum(dim=1, keepdim=True)
        # argsort of an argsort is the rank of each newborn by score.
        rank = newborn.scores.masked_fill(~newborn.valid, -1).argsort(dim=1, descending=True, stable=True)
        newborn = replace(newborn, valid=newborn.valid & (rank.argsort(dim=1) < free))
        used = torch.cat([self.valid, newborn.valid], dim=1)
        order = (~used).long().argsort(dim=1, stable=True)[:, :capacity]
        joined = {
            name: _take(torch.cat([getattr(self, name), getattr(newborn, name)], dim=1), order)
            for name in self.slot_fields()
        }
        # A newborn has no memory row yet: any will do, since the caller resets it.
        grown = _blank_unused(replace(self, **joined, memory=self._memory_of(order.clamp(max=capacity - 1))))
        return grown, (order >= capacity) & grown.valid

    def _memory_of(self, slots: Int[Tensor, "batch taken"]) -> MemoryState:
        """Return the memory rows of the given slots of each stream."""
        first = torch.arange(len(slots), device=slots.device)[:, None] * self.capacity
        return self.memory.index_select((first + slots).flatten())


def _take(
    tensor: Shaped[Tensor, "batch track *shape"], slots: Int[Tensor, "batch taken"]
) -> Shaped[Tensor, "batch taken *shape"]:
    """Return the given slots of each stream."""
    trailing = tensor.shape[2:]
    return tensor.gather(1, slots.reshape(*slots.shape, *[1] * len(trailing)).expand(*slots.shape, *trailing))


def _blank_unused(tracks: Tracks) -> Tracks:
    """Clear unused slots, since a NaN passes even through the zero weights of masked attention."""
    unused = ~tracks.valid
    vectors = ("query", "reference", "output", "last_output", "boxes", "logits")
    cleared = {name: getattr(tracks, name).masked_fill(unused[..., None], 0) for name in vectors}
    ids, missed = tracks.ids.masked_fill(unused, NEGATIVE_ID), tracks.missed.masked_fill(unused, 0)
    return replace(tracks, ids=ids, missed=missed, **cleared)


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
    }


def is_duplicate(tracks: TrackState, seen: Bool[Tensor, "batch track"], iou: float) -> Bool[Tensor, "batch track"]:
    """Return which of the ``seen`` tracks have an IoU above ``iou`` with an older one of them."""
    age = torch.arange(seen.shape[1], 0, -1, device=tracks.device)  # slots are in order of birth
    return seen & overlaps_better(tracks, age * seen, iou)


def overlaps_better(
    slots: TrackSlots, priority: Shaped[Tensor, "batch slot"], iou: float
) -> Bool[Tensor, "batch slot"]:
    """Return which slots have an IoU above ``iou`` with one of higher priority."""
    is_better = priority[:, None] > priority[:, :, None]  # batch slot other; of equals both stay
    return ((pairwise_iou(slots.boxes, slots.boxes) > iou) & is_better).any(dim=2)
