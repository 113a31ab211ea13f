"""T5, an encoder-decoder for text (arXiv 1910.10683), into which released weights load."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
