"""Conformer-NTM: long-form speech recognition with a memory between encoder and decoder (arXiv 2309.13029)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
