"""Memories that keep the latest items of a row in a first-in-first-out buffer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
