"""Stores of memory items: one interface over an index in memory, LanceDB on disk and PostgreSQL."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
