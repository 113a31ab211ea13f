"""Memories of a fixed number of slots that are rewritten in place."""

from mnemic_core.slots.exponential_memory import ExponentialMemory, ExponentialState
from mnemic_core.slots.no_memory import NoMemory, NoMemoryState

__all__ = ["ExponentialMemory", "ExponentialState", "NoMemory", "NoMemoryState"]
