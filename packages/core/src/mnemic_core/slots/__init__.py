"""Memories of a fixed number of slots that are rewritten in place."""

from mnemic_core.slots.exponential_memory import ExponentialMemory, ExponentialState
from mnemic_core.slots.gated_slot_encoder import GatedSlotConfig, GatedSlotEncoder, GatedSlotState, convert_membart
from mnemic_core.slots.hierarchical_memory import HierarchicalMemoryWrapper, HierarchicalState
from mnemic_core.slots.memory_tokens import MemoryTokens, MemoryTokenWrapper
from mnemic_core.slots.model_adapter import ModelAdapter
from mnemic_core.slots.no_memory import NoMemory, NoMemoryState
from mnemic_core.slots.slot_attention_memory import SlotAttentionMemory, SlotAttentionState, convert_memformer
from mnemic_core.slots.surprise_memory import SurpriseMemory, SurpriseState

__all__ = [
    "ExponentialMemory",
    "ExponentialState",
    "GatedSlotConfig",
    "GatedSlotEncoder",
    "GatedSlotState",
    "HierarchicalMemoryWrapper",
    "HierarchicalState",
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
    "convert_memformer",
]
