"""Memories that keep the latest items of a row in a first-in-first-out buffer."""

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.buffers.window_memory import WindowMemory

__all__ = ["RingBuffer", "WindowMemory"]
