"""Memory for transformers: states, mechanisms, drivers, and the contract that every memory keeps."""

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.buffers.window_memory import WindowMemory
from mnemic_core.catalogue import create, find_mechanism, list_mechanisms
from mnemic_core.errors import UserError
from mnemic_core.layer_states import LayerStates
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import ReadWriteMemory, SegmentMemory
from mnemic_core.protocols import Detach, Memory, ParametricLayer, SegmentModule, Selector, Slotted, Store, TokenMachine
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.slots.exponential_memory import ExponentialMemory, ExponentialState
from mnemic_core.slots.no_memory import NoMemory, NoMemoryState
from mnemic_core.state import MemoryState, SlotView
from mnemic_core.transformer import TransformerConfig, build_transformer

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
