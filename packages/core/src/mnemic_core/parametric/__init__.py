"""Layers that remember in their weights: no state, just ``x -> y``."""

from mnemic_core.parametric.persistent_keys import PersistentAttention, PersistentKeyValues
from mnemic_core.parametric.product_key_memory import ProductKeyMemory, SlotUsage

__all__ = ["PersistentAttention", "PersistentKeyValues", "ProductKeyMemory", "SlotUsage"]
