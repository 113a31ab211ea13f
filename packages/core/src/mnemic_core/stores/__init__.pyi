"""Searchable collections outside the computation, and the searches that attention uses inside it."""

from .exact_index import ExactIndex
from .records import Match, Record, RecordStore
from .search_backend import ExactSearch, FaissBackend, SearchBackend

__all__ = ["ExactIndex", "ExactSearch", "FaissBackend", "Match", "Record", "RecordStore", "SearchBackend"]
