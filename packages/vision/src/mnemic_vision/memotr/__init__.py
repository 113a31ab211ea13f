"""MeMOTR: multi-object tracking by queries with a long-term memory (arXiv 2307.15700)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
