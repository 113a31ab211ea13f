"""Layers that remember in their weights: no state, just ``x -> y``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
