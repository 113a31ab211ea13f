"""Memory for transformers: states, mechanisms, drivers, and the contract that every memory keeps."""

from .buffers.ring_buffer import RingBuffer
from .buffers.window_memory import WindowMemory
from .catalogue import find_mechanism, list_mechanisms
from .checkpoint import Checkpoint
from .errors import UserError
from .layer_states import LayerStates
from .listing import Listing, memory_names
from .machines.recurrent import TokenMachine
from .mechanism import Mechanism, Sizes
from .memory import Detach, ReadWriteMemory, SegmentMemory
from .memory_config import MemoryConfig
from .pretrained import PretrainedModel
from .report import MemoryReport, memory_report
from .residual import ResidualMemory
from .slots.exponential_memory import ExponentialMemory, ExponentialState
from .slots.no_memory import NoMemory, NoMemoryState
from .state import MemoryState, Slotted, SlotView
from .transformer import TransformerConfig, build_transformer

__all__ = [
    "Checkpoint",
    "Detach",
    "ExponentialMemory",
    "ExponentialState",
    "LayerStates",
    "Listing",
    "Mechanism",
    "MemoryConfig",
    "MemoryReport",
    "MemoryState",
    "NoMemory",
    "NoMemoryState",
    "PretrainedModel",
    "ReadWriteMemory",
    "ResidualMemory",
    "RingBuffer",
    "SegmentMemory",
    "Sizes",
    "SlotView",
    "Slotted",
    "TokenMachine",
    "TransformerConfig",
    "UserError",
    "WindowMemory",
    "build_transformer",
    "find_mechanism",
    "list_mechanisms",
    "memory_names",
    "memory_report",
]
