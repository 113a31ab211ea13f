"""EMAT: answers from a memory of questions and answers, found and read within one encoder pass (arXiv 2210.16773)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
