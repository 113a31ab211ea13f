"""Machines that run token by token or step by step: controllers with a memory that has operations of its own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
