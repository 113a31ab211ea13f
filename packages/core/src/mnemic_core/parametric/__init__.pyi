"""Layers that remember in their weights: no state, just ``x -> y``."""

from .persistent_keys import PersistentAttention, PersistentKeyValues
from .product_key_memory import ProductKeyMemory, SlotUsage

__all__ = ["PersistentAttention", "PersistentKeyValues", "ProductKeyMemory", "SlotUsage"]
