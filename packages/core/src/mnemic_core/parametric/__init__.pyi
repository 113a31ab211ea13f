"""Layers with a memory in their weights, without state."""

from .persistent_keys import PersistentAttention, PersistentKeyValues
from .product_key_memory import ProductKeyMemory, SlotUsage

__all__ = ["PersistentAttention", "PersistentKeyValues", "ProductKeyMemory", "SlotUsage"]
