"""Layers with a memory in their weights, without state."""

from .persistent_keys import PersistentAttention as PersistentAttention
from .persistent_keys import PersistentKeyValues as PersistentKeyValues
from .product_key_memory import ProductKeyMemory as ProductKeyMemory
from .product_key_memory import SlotUsage as SlotUsage
