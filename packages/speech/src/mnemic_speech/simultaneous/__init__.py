"""Simultaneous speech translation: the Augmented Memory Transformer with shiftable context (arXiv 2307.01377)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
