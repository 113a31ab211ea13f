"""Memories that keep the latest items of a row in a first-in-first-out buffer."""

from .context_windows import ContextWindow, context_windows
from .gated_fifo import GatedFifoMemory
from .local_attention import DistanceBuckets
from .neighbour_attention import NeighbourAttention, NeighbourState
from .relative_attention import RelativeAttention, relative_shift, relative_sinusoids
from .ring_buffer import RingBuffer
from .segment_memory import (
    RelativeSegmentAttention,
    SegmentMemoryStack,
    SegmentState,
    convert_transformer_xl,
)
from .segment_queue import QueuedFrames, SegmentQueue, SegmentQueueState
from .summary_bank import (
    SummaryAttention,
    SummaryBank,
    summary_bank_from_official,
    suppress_weak_attention,
)
from .window_memory import WindowMemory

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
