"""Streams of features with annotated actions: layouts, transforms and generated data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
