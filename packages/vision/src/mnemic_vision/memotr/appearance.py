"""Memory of how tracked objects look, which gives lost ones their identity back when they reappear.

Not in MeMOTR, whose tracks end when their query moves to another object: the object that was left is born anew. Here a
track that begins near the place where another one was lost, and looks like it, continues it.
"""

from dataclasses import dataclass, replace
from math import inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from mnemic_core.errors import check_range
from mnemic_core.slots.exponential_memory import ExponentialMemory, ExponentialState
from mnemic_core.state import MemoryState
from mnemic_vision.boxes import cxcywh_to_xyxy, pairwise_iou
from mnemic_vision.memotr.tracks import TrackState

_ROWS = 8  # bands of a box from top to bottom: clothes differ more along the height than along the width
_COMMON = 0.9  # of the mean of all objects, which is left out of comparisons
_COMMON_DECAY = 0.02
_FREE_IOU = 0.2  # an object that overlaps another one more is not remembered as it looks then
_SAME_HEIGHT = 0.5  # largest difference of the logarithms of two heights of one object
_EMPTY = -1  # identity of an unused slot


@dataclass(frozen=True)
class AppearanceSettings:
    """When a newborn track gets the identity of a lost one.

    Args:
        similarity: cosine similarity from which two looks are of one object, -1 to 1.
        max_age: frames after which a lost identity is forgotten.
        max_distance: largest distance between two places of one object, in heights of its box.
        growth: by which that distance grows with each frame.
        decay: weight of the latest look in the memory.
    """

    similarity: float = 0.5
    max_age: int = 30
    max_distance: float = 1.0
    growth: float = 0.1
    decay: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, -1, 1, "similarity")
        check_range(self, 1, inf, "max_age")
        check_range(self, 0, inf, "max_distance", "growth")
        check_range(self, 0, 1, "decay")


@dataclass(frozen=True)
class AppearanceState(MemoryState):
    """Looks of live and lost tracks of each stream.

    Attributes:
        looks: state of the memory, one row for each slot of each stream.
        ids: identity of each slot; -1: unused.
        boxes: last box, cxcywh in [0, 1].
        last: frame in which the object was seen last.
        frame: number of frames so far.
        common: mean look of all objects.
    """

    looks: ExponentialState
    ids: Int[Tensor, "batch slot"]
    boxes: Float[Tensor, "batch slot 4"]
    last: Int[Tensor, "batch slot"]
    frame: Int[Tensor, " batch"]
    common: Float[Tensor, "batch dim"]


class AppearanceMemory:
    """Remembers how each track looks, and gives newborn tracks that look like a lost one its identity.

    A look is made of the finest feature map of the backbone and of the colors, averaged over eight bands of the box. An
    `ExponentialMemory` keeps the mean look of each track and of those that were lost in the last ``max_age`` frames. A
    newborn and a lost track are one object if each looks most like the other among those that are near enough.

    Args:
        channels: of the feature map.
        capacity: identities, live and lost; those that were lost first give way.
        settings: when two tracks are one object.
    """

    def __init__(self, channels: int, capacity: int, settings: AppearanceSettings) -> None:
        self.settings, self.capacity = settings, capacity
        self.memory = ExponentialMemory(_ROWS * (channels + 3), decay=settings.decay)

    def init_state(self, batch: int, device: torch.device | str | None = None) -> AppearanceState:
        """Return the state before the first frame."""
        slots = torch.full((batch, self.capacity), _EMPTY, dtype=torch.long, device=device)
        return AppearanceState(
            self.memory.init_state(batch * self.capacity, device=device),
            slots,
            torch.zeros(batch, self.capacity, 4, device=device),
            slots,
            torch.zeros(batch, dtype=torch.long, device=device),
            torch.zeros(batch, self.memory.dim, device=device),
        )

    def look(
        self,
        images: Float[Tensor, "batch 3 height width"],
        features: Float[Tensor, "batch channel _rows _columns"],
        padding: Bool[Tensor, "batch height width"],
        boxes: Float[Tensor, "batch track 4"],
    ) -> Float[Tensor, "batch track dim"]:
        """Return the look of the contents of boxes, cxcywh in [0, 1] of the image without padding; of length 1."""
        sizes = torch.stack([(~padding).any(1).sum(1), (~padding).any(2).sum(1)], dim=1).float()  # batch 2: x, y
        corners = list(cxcywh_to_xyxy(boxes.float()) * sizes.repeat(1, 2)[:, None])
        standard = (features - features.mean((2, 3), keepdim=True)) / features.std((2, 3), keepdim=True).clamp(min=1e-6)
        scale = features.shape[3] / images.shape[3]
        parts = roi_align(standard.float(), corners, (_ROWS, 3), scale, aligned=True).mean(3).flatten(1)
        shown = (images - images.mean((2, 3), keepdim=True)).float()
        # The sides of a box show what is behind.
        colors = roi_align(shown, corners, (_ROWS, 5), 1.0, aligned=True)[..., 1:4].mean(3).flatten(1)
        both = torch.cat([F.normalize(parts, dim=1), F.normalize(colors, dim=1)], dim=1)
        return F.normalize(both, dim=1).view(*boxes.shape[:2], -1)

    def __call__(
        self,
        state: AppearanceState,
        before: TrackState,
        after: TrackState,
        looks: Float[Tensor, "batch track dim"],
        aspect: Float[Tensor, " batch"],
    ) -> tuple[TrackState, AppearanceState]:
        """Return the tracks with identities that were found again, and the state after the frame.

        Args:
            state: after the previous frame.
            before: tracks before the frame.
            after: tracks after it.
            looks: of the boxes of ``after``.
            aspect: width of the images relative to their height.
        """
        seen = after.valid & (after.missed == 0)
        state = replace(state, frame=state.frame + 1, common=self._common(state, looks, seen))
        was_alive = _is_in(after.ids, before.ids, before.valid)
        match = self._find_lost(state, after, looks, seen & ~was_alive, aspect)
        after = replace(after, ids=torch.where(match >= 0, state.ids.gather(1, match.clamp(min=0)), after.ids))
        return after, self._remember(state, after, looks, seen)

    def _common(
        self, state: AppearanceState, looks: Float[Tensor, "batch track dim"], seen: Bool[Tensor, "batch track"]
    ) -> Float[Tensor, "batch dim"]:
        count = seen.sum(1, keepdim=True)
        mean = (looks * seen[..., None]).sum(1) / count.clamp(min=1)
        is_first = ~state.common.any(1, keepdim=True)
        moved = torch.where(is_first, mean, state.common + _COMMON_DECAY * (mean - state.common))
        return torch.where(count > 0, moved, state.common)

    def _find_lost(
        self,
        state: AppearanceState,
        tracks: TrackState,
        looks: Float[Tensor, "batch track dim"],
        newborn: Bool[Tensor, "batch track"],
        aspect: Float[Tensor, " batch"],
    ) -> Int[Tensor, "batch track"]:
        """Return the slot of the lost track that a newborn one continues, -1 for none."""
        settings = self.settings
        age = state.frame[:, None] - state.last
        lost = (state.ids != _EMPTY) & (age <= settings.max_age) & ~_is_in(state.ids, tracks.ids, tracks.valid)
        stored = state.looks.long.view(*state.ids.shape, -1)
        own, other = (F.normalize(vectors - _COMMON * state.common[:, None], dim=-1) for vectors in (looks, stored))
        similarity = own @ other.mT  # batch track slot
        reach = settings.max_distance + settings.growth * age[:, None]
        near = _distance(tracks.boxes, state.boxes, aspect) <= reach
        heights = (tracks.boxes[:, :, None, 3] / state.boxes[:, None, :, 3].clamp(min=1e-6)).clamp(min=1e-6).log()
        possible = newborn[..., None] & lost[:, None] & near & (heights.abs() <= _SAME_HEIGHT)
        similarity = similarity.masked_fill(~possible, -2)
        best, chosen = similarity.max(dim=2)
        # A pair counts only if each is the best of the other.
        is_mutual = similarity.argmax(dim=1).gather(1, chosen) == torch.arange(chosen.shape[1], device=chosen.device)
        return torch.where(is_mutual & (best >= settings.similarity), chosen, -1)

    def _remember(
        self,
        state: AppearanceState,
        tracks: TrackState,
        looks: Float[Tensor, "batch track dim"],
        seen: Bool[Tensor, "batch track"],
    ) -> AppearanceState:
        """Return the state with the looks and places of the seen tracks."""
        known = (tracks.ids[:, :, None] == state.ids[:, None]) & seen[..., None]
        is_new = seen & ~known.any(2)
        # New ones take unused slots first, then those of the tracks that were lost first, never of live ones.
        is_live = _is_in(state.ids, tracks.ids, tracks.valid)
        order = state.last.masked_fill(is_live, torch.iinfo(torch.long).max).argsort(dim=1, stable=True)
        number = (is_new.long().cumsum(1) - 1).clamp(min=0)
        slot = torch.where(is_new, order.gather(1, number.clamp(max=self.capacity - 1)), known.long().argmax(2))
        is_written = F.one_hot(slot, self.capacity).bool() & seen[..., None]  # batch track slot
        source, has = is_written.long().argmax(1), is_written.any(1)  # batch slot
        fresh = (is_written & is_new[..., None]).any(1)
        rows = fresh.flatten()
        overlap = pairwise_iou(tracks.boxes, tracks.boxes) * (seen[:, None] & seen[:, :, None])
        is_free = overlap.masked_fill(torch.eye(seen.shape[1], device=seen.device).bool(), 0).amax(2) <= _FREE_IOU
        values = looks.gather(1, source[..., None].expand(-1, -1, looks.shape[2]))
        writes = fresh | (has & is_free.gather(1, source))
        return replace(
            state,
            looks=self.memory.write(
                self.memory.reset(state.looks, rows), values.flatten(0, 1)[:, None], padding=~writes.flatten()[:, None]
            ),
            ids=torch.where(has, tracks.ids.gather(1, source), state.ids),
            boxes=torch.where(has[..., None], tracks.boxes.gather(1, source[..., None].expand(-1, -1, 4)), state.boxes),
            last=torch.where(has, state.frame[:, None], state.last),
        )


def _is_in(
    ids: Int[Tensor, "batch one"], others: Int[Tensor, "batch other"], valid: Bool[Tensor, "batch other"]
) -> Bool[Tensor, "batch one"]:
    return ((ids[:, :, None] == others[:, None]) & valid[:, None]).any(2)


def _distance(
    first: Float[Tensor, "batch track 4"], second: Float[Tensor, "batch slot 4"], aspect: Float[Tensor, " batch"]
) -> Float[Tensor, "batch track slot"]:
    """Return the distances of centers in heights of the second box."""
    away = first[:, :, None, :2] - second[:, None, :, :2]
    scale = torch.stack([aspect, torch.ones_like(aspect)], dim=1)[:, None, None]
    heights = second[:, None, :, 3].clamp(min=1e-6)
    distance: Tensor = torch.linalg.vector_norm(away * scale, dim=-1) / heights
    return distance
