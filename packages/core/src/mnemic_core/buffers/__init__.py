"""Memories that keep the latest items of a row in a first-in-first-out buffer."""

from mnemic_core.buffers.context_windows import ContextWindow, context_windows
from mnemic_core.buffers.gated_fifo import GatedFifoMemory
from mnemic_core.buffers.local_attention import DistanceBuckets
from mnemic_core.buffers.neighbour_attention import NeighbourAttention, NeighbourState
from mnemic_core.buffers.relative_attention import RelativeAttention, relative_shift, relative_sinusoids
from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.buffers.segment_memory import (
    RelativeSegmentAttention,
    SegmentMemoryStack,
    SegmentState,
    convert_transformer_xl,
)
from mnemic_core.buffers.segment_queue import QueuedFrames, SegmentQueue, SegmentQueueState
from mnemic_core.buffers.summary_bank import (
    SummaryAttention,
    SummaryBank,
    summary_bank_from_official,
    suppress_weak_attention,
)
from mnemic_core.buffers.window_memory import WindowMemory

__all__ = [
    "ContextWindow",
    "DistanceBuckets",
    "GatedFifoMemory",
    "NeighbourAttention",
    "NeighbourState",
    "QueuedFrames",
    "RelativeAttention",
    "RelativeSegmentAttention",
    "RingBuffer",
    "SegmentMemoryStack",
    "SegmentQueue",
    "SegmentQueueState",
    "SegmentState",
    "SummaryAttention",
    "SummaryBank",
    "WindowMemory",
    "context_windows",
    "convert_transformer_xl",
    "relative_shift",
    "relative_sinusoids",
    "summary_bank_from_official",
    "suppress_weak_attention",
]
