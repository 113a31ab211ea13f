"""MemMC-MAE: one-class anomaly detection in images by a masked autoencoder with a memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
