"""MuRAG: answers from a memory of pictures and texts (arXiv 2210.02928)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
