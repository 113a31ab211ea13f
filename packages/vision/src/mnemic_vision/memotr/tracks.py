"""The track buffer: what MeMOTR carries from one frame to the next."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_vision.boxes import pairwise_iou

NEGATIVE_ID = -1  # a confident false positive that training keeps as a negative track, or an unused slot

Slots = TypeVar("Slots", bound="TrackSlots")
Tracks = TypeVar("Tracks", bound="TrackState")


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
    def scores(self) -> Float[Tensor, "batch track"]:
        """Largest class probability of each slot, 0 where unused."""
        return self.logits.sigmoid().amax(dim=-1) * self.valid

    def take(self: Slots, slots: Int[Tensor, "batch taken"]) -> Slots:
        """Return the given slots of each stream."""
        return replace(self, **{name: _take(getattr(self, name), slots) for name in self.slot_fields()})

    @classmethod
    def slot_fields(cls) -> list[str]:
        """Return the names of the fields that have one entry a slot."""
        return [field.name for field in fields(cls)]


@dataclass(frozen=True)
class TrackState(TrackSlots):
    """A buffer of ``capacity`` slots a stream; used slots come first, in order of birth.

    Attributes:
        memory: long-term memory, one row a slot: those of the first stream, then those of the second, and so on.
        next_id: the identity that the next newborn of a stream gets.
    """

    memory: MemoryState
    next_id: Int[Tensor, " batch"]

    @classmethod
    def slot_fields(cls) -> list[str]:
        """Return the names of the fields that have one entry a slot."""
        return [name for name in super().slot_fields() if name not in ("memory", "next_id")]

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
        """Return the buffer with the valid slots of ``newborn`` behind the used ones, and where these are.

        Where free slots do not suffice, the newborn of highest score get them. The long-term memory of a newborn
        still holds what its slot held before: the caller resets it.
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
        # A newborn has no memory yet: any row will do.
        grown = _blank_unused(replace(self, **joined, memory=self._memory_of(order.clamp(max=capacity - 1))))
        return grown, (order >= capacity) & grown.valid

    def _memory_of(self, slots: Int[Tensor, "batch taken"]) -> MemoryState:
        """Return the memory rows of the given slots of each stream."""
        # Row of the memory = stream * capacity + slot.
        first = torch.arange(len(slots), device=slots.device)[:, None] * self.capacity
        return self.memory.index_select((first + slots).flatten())


def _take(
    tensor: Shaped[Tensor, "batch track *shape"], slots: Int[Tensor, "batch taken"]
) -> Shaped[Tensor, "batch taken *shape"]:
    """Gather along the slot axis whatever axes follow it."""
    trailing = tensor.shape[2:]
    return tensor.gather(1, slots.reshape(*slots.shape, *[1] * len(trailing)).expand(*slots.shape, *trailing))


def _blank_unused(tracks: Tracks) -> Tracks:
    """Clear what could reach other slots: a NaN passes even through the zero weights of masked attention."""
    unused = ~tracks.valid
    vectors = ("query", "reference", "output", "last_output", "boxes", "logits")
    cleared = {name: getattr(tracks, name).masked_fill(unused[..., None], 0) for name in vectors}
    return replace(
        tracks,
        ids=tracks.ids.masked_fill(unused, NEGATIVE_ID),
        missed=tracks.missed.masked_fill(unused, 0),
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
    }


def is_duplicate(tracks: TrackState, seen: Bool[Tensor, "batch track"], iou: float) -> Bool[Tensor, "batch track"]:
    """Return which of the ``seen`` tracks overlap an older one of them by more than ``iou``."""
    age = torch.arange(seen.shape[1], 0, -1, device=tracks.device)  # slots are in order of birth
    return seen & overlaps_better(tracks, age * seen, iou)


def overlaps_better(
    slots: TrackSlots, priority: Shaped[Tensor, "batch slot"], iou: float
) -> Bool[Tensor, "batch slot"]:
    """Return which slots overlap one of higher priority by more than ``iou``."""
    is_better = priority[:, None] > priority[:, :, None]  # batch slot other; strict, so that equals both stay
    return ((pairwise_iou(slots.boxes, slots.boxes) > iou) & is_better).any(dim=2)
