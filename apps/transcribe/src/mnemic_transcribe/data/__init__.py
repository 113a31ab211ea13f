"""Lists of utterances: our manifests, the layouts of public data sets, and digit strings that are rendered."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
