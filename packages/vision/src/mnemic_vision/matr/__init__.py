"""MATR: online temporal action localization with a memory of past segments (arXiv 2408.02957)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
