"""A queue of flagged past segments: the memory of MATR."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import check_at_least, check_choice
from mnemic_core.layers import attention_weights, or_no_padding, tokens_first
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, ReadWriteMemory
from mnemic_core.state import Device, MemoryState, SlotView

SampleFrom = Literal["newest", "oldest"]


@dataclass(frozen=True)
class SegmentQueueState(MemoryState):
    """The stored segments of every row.

    Attributes:
        segments: ring of ``[frame dim]``, frames oldest first; short segments start with zeros.
        marks: ring of the index of the newest frame and the number of valid frames of each segment.
        newest: index of the newest frame of the row, stored or not; -1 before the first.
    """

    segments: RingBuffer
    marks: RingBuffer
    newest: Int[Tensor, " batch"]

    def valid(self) -> Bool[Tensor, "batch segment frame"]:
        """Return True at frames that were written."""
        num_frames = self.segments.items.shape[2]
        # Slots without a segment have 0 valid frames, so the count of the ring is not needed.
        return torch.arange(num_frames, device=self.newest.device) >= num_frames - self.marks.items[..., 1:]

    def slots(self) -> SlotView:
        """Return one slot for each frame, with the age of its segment."""
        valid = self.valid()
        age = torch.where(valid, self.segments.age()[..., None], -1)
        return SlotView(self.segments.items.flatten(1, 2), valid.flatten(1), age.flatten(1))


@dataclass(frozen=True)
class QueuedFrames(MemoryState):
    """The stored frames with validity and age, for the attention of a model.

    Attributes:
        frames: the frames of all segments in the order of the slots; zeros where not valid.
        valid: True where a frame was written.
        segment_age: age of the frame's segment, in segment lengths; -1 where not valid.
        frame_age: later frames of its segment, 0 for the newest; -1 where not valid.
    """

    frames: Float[Tensor, "batch slot dim"]
    valid: Bool[Tensor, "batch slot"]
    segment_age: Int[Tensor, "batch slot"]
    frame_age: Int[Tensor, "batch slot"]


class SegmentQueue(ReadWriteMemory[SegmentQueueState]):
    """Keeps the frames of the latest flagged segments, first in first out.

    The memory queue of MATR (Song et al., ECCV 2024, arXiv:2408.02957) stores segments of actions only, so that it
    reaches further back than a plain window of the same size::

        queue <- [queue without its oldest segment ; segment]   if stored,   else queue

    A model attends to :meth:`frames` with position embeddings of both ages; :meth:`read` is attention without
    parameters, as in :class:`WindowMemory`. Unlike in the released code, unused slots are masked and a reset affects
    the given rows only.

    State: ``capacity`` segments of ``ceil(segment_length / stride)`` frames;
    ``4 * capacity * ceil(segment_length / stride) * dim + 16 * capacity + 40`` bytes per row in float32.

    Args:
        dim: width of frames.
        capacity: segments kept per row.
        segment_length: frames of a segment; of a longer one the newest are kept.
        stride: store every ``stride``-th frame of a segment.
        sample_from: end of a segment from which the stride counts. ``"newest"`` keeps the newest frame, ``"oldest"``
            (released code) drops it if the stride divides the length.
        detach: ``"stored"`` (the paper) detaches what is stored, ``"never"`` does not.

    Example:
        >>> queue = SegmentQueue(dim=1, capacity=2, segment_length=2)
        >>> state = queue.init_state(batch=1)
        >>> for first, flag in ((1.0, True), (3.0, False), (5.0, True)):
        ...     segment = torch.tensor([[[first], [first + 1]]])
        ...     state = queue.write(state, segment, store=torch.tensor([flag]))
        >>> stored = queue.frames(state)
        >>> stored.frames.flatten(), stored.segment_age
        (tensor([1., 2., 5., 6.]), tensor([[2, 2, 0, 0]]))
    """

    writes_compose: ClassVar[bool] = False  # segment boundaries are part of the content

    def __init__(
        self,
        dim: int,
        *,
        capacity: int = 7,
        segment_length: int = 64,
        stride: int = 1,
        sample_from: SampleFrom = "newest",
        detach: Detach = "stored",
    ) -> None:
        super().__init__(dim, detach)
        way_out = "use NoMemory to keep nothing"
        check_at_least(1, way_out, capacity=capacity, segment_length=segment_length, stride=stride)
        check_choice(SampleFrom, sample_from=sample_from)
        self.capacity = capacity
        self.segment_length = segment_length
        self.stride = stride
        self._num_frames = math.ceil(segment_length / stride)
        self._oldest_age = segment_length - 1 if sample_from == "oldest" else (self._num_frames - 1) * stride

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> SegmentQueueState:
        """Return empty queues."""
        return SegmentQueueState(
            RingBuffer.empty(batch, self.capacity, self._num_frames, self.dim, device=device, dtype=dtype),
            RingBuffer.empty(batch, self.capacity, 2, device=device, dtype=torch.long),
            torch.full((batch,), -1, device=device),
        )

    def frames(self, state: SegmentQueueState, now: Int[Tensor, " batch"] | None = None) -> QueuedFrames:
        """Return the stored frames with validity and age.

        Args:
            state: the queues.
            now: index of the current frame; None for the newest of each row.
        """
        valid = state.valid()
        now = state.newest if now is None else now
        segment_age = (now[:, None] - state.marks.items[..., 0]) // self.segment_length
        segment_age = torch.where(valid, segment_age[..., None], -1)
        frame_age = torch.where(valid, self._frame_ages(now.device), -1)
        return QueuedFrames(
            self._stored(state.segments.items).flatten(1, 2),
            valid.flatten(1),
            segment_age.flatten(1),
            frame_age.flatten(1),
        )

    def read(self, query: Float[Tensor, "batch time dim"], state: SegmentQueueState) -> Float[Tensor, "batch time dim"]:
        """Return the attended mean of the stored frames; zeros while the queue is empty."""
        return self.read_weights(query, state) @ self.frames(state).frames.to(query.dtype)

    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: SegmentQueueState
    ) -> Float[Tensor, "batch time slot"]:
        """Return the attention of each query to the stored frames; zeros while the queue is empty."""
        stored = self.frames(state)
        return attention_weights(query, stored.frames.to(query.dtype), stored.valid[:, None])

    def write(
        self,
        state: SegmentQueueState,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        store: Bool[Tensor, " batch"] | None = None,
        now: Int[Tensor, " batch"] | None = None,
    ) -> SegmentQueueState:
        """Return the queues after a segment.

        Args:
            state: the queues before.
            values: the frames of the segment, oldest first.
            padding: True at frames to ignore; a row of padding only is unchanged.
            store: True at rows that store the segment; None for all.
            now: index of the newest frame, for overlapping segments; None counts the frames of each row.
        """
        if values.shape[1] == 0:
            return state
        padding = or_no_padding(padding, values)
        number = (~padding).sum(1)
        newest = torch.where(number > 0, state.newest + number if now is None else now, state.newest)
        # Padding may be anywhere, so frames are counted from the newest one of each row that is not padding.
        place = number[:, None] - 1 - self._frame_ages(values.device)  # batch frame
        source = tokens_first(padding).gather(1, place.clamp(min=0))
        frames = self._stored(values).gather(1, source[..., None].expand(-1, -1, self.dim))
        frames = frames.masked_fill((place < 0)[..., None], 0)
        kept = (place >= 0).sum(1)
        marks = torch.stack([newest, kept], dim=-1)
        left_out = (kept == 0 if store is None else (kept == 0) | ~store)[:, None]
        return SegmentQueueState(
            state.segments.append(frames[:, None], left_out), state.marks.append(marks[:, None], left_out), newest
        )

    def _frame_ages(self, device: torch.device) -> Int[Tensor, " frame"]:
        """Return the number of later frames of its segment for each stored frame, oldest first."""
        return torch.arange(self._oldest_age, -1, -self.stride, device=device)


SEGMENT_QUEUE = Mechanism(
    name="segment_queue",
    cls=SegmentQueue,
    place="beside",
    is_read_write=True,
    paper="Online Temporal Action Localization with Memory-Augmented Transformer (ECCV 2024)",
    arxiv="2408.02957",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="scaled dot-product attention",
    write="append the segment if flagged",
    forget="first in, first out",
    capacity="`capacity` segments of `segment_length / stride` frames",
    cost="O(T K S d)",
    bytes_per_row="4 * capacity * ceil(segment_length / stride) * dim + 16 * capacity + 40",
    small={"capacity": 2, "segment_length": 4},
    sized=lambda sizes: {
        "capacity": max(sizes.stored // sizes.segment_length, 1),
        "segment_length": sizes.segment_length,
    },
    size_option="capacity",
)
