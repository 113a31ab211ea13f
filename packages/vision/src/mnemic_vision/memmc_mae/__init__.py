"""MemMC-MAE: anomalies in medical images, by a masked autoencoder with a memory (arXiv 2203.11725)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
