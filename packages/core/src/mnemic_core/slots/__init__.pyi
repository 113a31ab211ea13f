"""Memories of a fixed number of slots that are rewritten in place."""

from .exponential_memory import ExponentialMemory as ExponentialMemory
from .exponential_memory import ExponentialState as ExponentialState
from .gated_slot_encoder import GatedSlotEncoder as GatedSlotEncoder
from .gated_slot_encoder import GatedSlotState as GatedSlotState
from .gated_slot_encoder import convert_membart as convert_membart
from .hierarchical_memory import HierarchicalMemoryWrapper as HierarchicalMemoryWrapper
from .hierarchical_memory import HierarchicalState as HierarchicalState
from .memory_tokens import MemoryTokens as MemoryTokens
from .memory_tokens import MemoryTokenWrapper as MemoryTokenWrapper
from .model_adapter import HostModel as HostModel
from .model_adapter import ModelAdapter as ModelAdapter
from .no_memory import NoMemory as NoMemory
from .no_memory import NoMemoryState as NoMemoryState
from .slot_attention_memory import SlotAttentionMemory as SlotAttentionMemory
from .slot_attention_memory import SlotAttentionState as SlotAttentionState
from .surprise_memory import SurpriseMemory as SurpriseMemory
from .surprise_memory import SurpriseState as SurpriseState
