"""Drivers that unroll a segment module over a sequence and decide how far gradients go."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
