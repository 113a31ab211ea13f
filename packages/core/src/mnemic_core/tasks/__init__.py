"""Tasks with exact solutions that test what a memory can do, and over which lengths."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
