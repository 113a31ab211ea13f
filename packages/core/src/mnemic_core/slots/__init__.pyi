"""Memories of a fixed number of slots that are rewritten in place."""

from .exponential_memory import ExponentialMemory, ExponentialState
from .gated_slot_encoder import GatedSlotEncoder, GatedSlotState, convert_membart
from .hierarchical_memory import HierarchicalMemoryWrapper, HierarchicalState
from .memory_tokens import MemoryTokens, MemoryTokenWrapper
from .model_adapter import HostModel, ModelAdapter
from .no_memory import NoMemory, NoMemoryState
from .slot_attention_memory import SlotAttentionMemory, SlotAttentionState
from .surprise_memory import SurpriseMemory, SurpriseState

__all__ = [
    "ExponentialMemory",
    "ExponentialState",
    "GatedSlotEncoder",
    "GatedSlotState",
    "HierarchicalMemoryWrapper",
    "HierarchicalState",
    "HostModel",
    "MemoryTokenWrapper",
    "MemoryTokens",
    "ModelAdapter",
    "NoMemory",
    "NoMemoryState",
    "SlotAttentionMemory",
    "SlotAttentionState",
    "SurpriseMemory",
    "SurpriseState",
    "convert_membart",
]
