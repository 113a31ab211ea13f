"""Memories that keep the latest items of a row in a first-in-first-out buffer."""

from .context_windows import ContextWindow as ContextWindow
from .context_windows import context_window as context_window
from .context_windows import context_windows as context_windows
from .context_windows import frames_to_final as frames_to_final
from .gated_fifo import GatedFifoMemory as GatedFifoMemory
from .local_attention import DistanceBuckets as DistanceBuckets
from .neighbour_attention import NeighbourAttention as NeighbourAttention
from .neighbour_attention import NeighbourState as NeighbourState
from .relative_attention import RelativeAttention as RelativeAttention
from .relative_attention import relative_shift as relative_shift
from .relative_attention import relative_sinusoids as relative_sinusoids
from .ring_buffer import RingBuffer as RingBuffer
from .segment_memory import RelativeSegmentAttention as RelativeSegmentAttention
from .segment_memory import SegmentMemoryStack as SegmentMemoryStack
from .segment_memory import SegmentState as SegmentState
from .segment_memory import convert_transformer_xl as convert_transformer_xl
from .segment_queue import QueuedFrames as QueuedFrames
from .segment_queue import SegmentQueue as SegmentQueue
from .segment_queue import SegmentQueueState as SegmentQueueState
from .summary_bank import SummaryAttention as SummaryAttention
from .summary_bank import SummaryBank as SummaryBank
from .summary_bank import summary_bank_from_official as summary_bank_from_official
from .summary_bank import suppress_weak_attention as suppress_weak_attention
from .window_memory import WindowMemory as WindowMemory
