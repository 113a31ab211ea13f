"""Memory for transformers: states, mechanisms, drivers, and the contract that every memory keeps."""

from .buffers.ring_buffer import RingBuffer
from .buffers.window_memory import WindowMemory
from .catalogue import create, find_mechanism, list_mechanisms
from .errors import UserError
from .layer_states import LayerStates
from .mechanism import Mechanism
from .memory import ReadWriteMemory, SegmentMemory
from .protocols import Detach, Memory, ParametricLayer, SegmentModule, Selector, Slotted, Store, TokenMachine
from .report import MemoryReport, memory_report
from .slots.exponential_memory import ExponentialMemory, ExponentialState
from .slots.no_memory import NoMemory, NoMemoryState
from .state import MemoryState, SlotView
from .transformer import TransformerConfig, build_transformer

__all__ = [
    "Detach",
    "ExponentialMemory",
    "ExponentialState",
    "LayerStates",
    "Mechanism",
    "Memory",
    "MemoryReport",
    "MemoryState",
    "NoMemory",
    "NoMemoryState",
    "ParametricLayer",
    "ReadWriteMemory",
    "RingBuffer",
    "SegmentMemory",
    "SegmentModule",
    "Selector",
    "SlotView",
    "Slotted",
    "Store",
    "TokenMachine",
    "TransformerConfig",
    "UserError",
    "WindowMemory",
    "build_transformer",
    "create",
    "find_mechanism",
    "list_mechanisms",
    "memory_report",
]
