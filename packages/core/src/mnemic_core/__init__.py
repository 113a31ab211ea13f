"""Memory for transformers: states, mechanisms, drivers, and the contract that every memory keeps."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
