"""Searchable collections outside the computation, and the searches that attention uses inside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
