"""Tracking data: sequences of the common data sets or of a generated world, cut into clips and augmented."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
